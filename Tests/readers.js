// Asks examples/readers/reader.js: questions in JSON on standard input, answers on standard output.
const { Feed } = require(process.cwd() + "/examples/readers/reader.js");
const { createClient, createCluster } = require("redis");

(async () => {
  const asked = JSON.parse(require("fs").readFileSync(0)), feeds = {}, answers = [];
  const nodes = asked.cluster.map((port) => ({ url: `redis://127.0.0.1:${port}` }));
  const client = nodes.length
    ? createCluster({ rootNodes: nodes })
    : createClient({ socket: { path: asked.socket } });
  await client.connect();
  for (const { feed, id, ...rest } of asked.questions) {
    feeds[feed] ??= new Feed(client, feed);
    answers.push(await feeds[feed].lookup(id, rest));
  }
  process.stdout.write(JSON.stringify(answers));
  await client.quit();
})();
