// A feed's lists from Redis (npm install redis@4); docs/cache.md has the keys.
const { createHash } = require("crypto"), { commandOptions } = require("redis");
const { unpack } = require("./packed"), FIELDS = ["format", "k", "buckets", "lists"]; // json needs no unpack
exports.Feed = class {
  constructor(redis, name) { Object.assign(this, { redis, keys: `rec:${name}:`, until: 0 }); }

  // { release, arm, source, entries }, the best first; null where nothing is live.
  async lookup(id, { k, segment, category } = {}) {
    const { redis, keys } = this, bytes = commandOptions({ returnBuffers: true });
    if (Date.now() > this.until) { // what is live may be 5 s old
      this.head = await Promise.all([redis.get(`${keys}live`), redis.hGet(`{${keys}live}:head`, "split")]);
      Object.assign(this, { about: {}, until: Date.now() + 5000 });
    }
    const [live, split] = this.head, tries = [["list", id.startsWith("_") ? `_${id}` : id],
      segment && ["segment", `_segment:${segment}`], category && ["category", `_category:${category}`],
      ["default", "_default"]].filter(Boolean);
    for (const { release, arm } of [...arms(split, id, live), { release: live, arm: null }]) {
      const [format, usual, buckets, shared] = this.about[release] ??= await redis.hmGet(`${keys}${release}:_meta`, FIELDS);
      const start = `${keys}${shared ?? release}:`;
      const get = ([source, name]) => source !== "list" || !buckets ? redis.get(bytes, start + name)
        : redis.hGet(bytes, `${start}_b:${Math.floor(hash(id) * buckets / 2 ** 32)}`, id); // compact
      // Commands of one turn of the event loop are sent together.
      const [hidden, ...lists] = await Promise.all([redis.sMembers(`{${keys}live}:hidden`), ...tries.map(get)]);
      const found = lists.findIndex(list => list);
      if (!format || found < 0) continue;
      const entries = format.startsWith("json") ? JSON.parse(lists[found]) : unpack(lists[found]);
      const shown = entries.filter(entry => !hidden.includes(format.includes("scored") ? entry[0] : entry));
      return { release: Number(release), arm, source: tries[found][0], entries: shown.slice(0, k ?? usual) };
    }
    return null;
  }
};
function hash(text) { return createHash("sha1").update(text).digest().readUInt32BE(); }
function arms(split, id, live) { // such as `salt A=42:90 B=live:10`
  const [salt, ...arms] = (split ?? "").split(" "), shares = arms.map(arm => Number(arm.split(":")[1]));
  let place = Math.floor(hash(`${salt}:${id}`) * shares.reduce((a, b) => a + b, 0) / 2 ** 32);
  const [name, release] = (arms.find((_, n) => (place -= shares[n]) < 0) ?? "").split(/[=:]/);
  return name ? [{ release: release === "live" ? live : release, arm: name }] : [];
}
