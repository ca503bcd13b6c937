// Asks examples/readers/reader.js: questions in JSON on standard input, answers on standard output.
const { Feed } = require(process.cwd() + "/examples/readers/reader.js");
const { createClient } = require("redis");

(async () => {
  const asked = JSON.parse(require("fs").readFileSync(0)), feeds = {}, answers = [];
  const client = createClient({ socket: { path: asked.socket } });
  await client.connect();
  for (const { feed, id, ...rest } of asked.questions) {
    feeds[feed] ??= new Feed(client, feed);
    answers.push(await feeds[feed].lookup(id, rest));
  }
  process.stdout.write(JSON.stringify(answers));
  await client.quit();
})();
