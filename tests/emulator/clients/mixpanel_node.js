"use strict";
// Sends with npm's mixpanel, alone and in batches, to /track and /import: URL TIME.
const http = require("http");
const https = require("https");
const [url, time] = process.argv.slice(2);
const { hostname, port } = new URL(url);

// The SDK sends credentials by HTTPS only, which the emulator does not speak.
https.request = (options, done) => http.request({ ...options, agent: undefined, protocol: "http:" }, done);

const Mixpanel = require("mixpanel");
const seconds = Number(time);
const host = `${hostname}:${port}`;
const account = new Mixpanel.ServiceAccountCredentials("user", "secret", "1");
const bySecret = Mixpanel.init("token", { host, verbose: true, secret: "secret" });
const byAccount = Mixpanel.init("token", { host, verbose: true, credentials: account });
const names = { distinct_id: "ann" };
const batch = (sdk) => [1, 2].map((number) => ({ event: `${sdk} ${number}`, properties: { ...names, time: seconds } }));

const sent = (send) => new Promise((done, fail) => send((error) => {
  const errors = [error].flat().filter(Boolean);
  if (errors.length) fail(errors[0]); else done();
}));

(async () => {
  await sent((done) => bySecret.track("track", { ...names, plan: "café & co" }, done));
  await sent((done) => bySecret.import("import with a secret", seconds, { ...names }, done));
  await sent((done) => byAccount.import("import with an account", seconds, { ...names }, done));
  await sent((done) => byAccount.import_batch(batch("import_batch"), done));
  const now = batch("track_batch").map(({ event, properties: { distinct_id } }) => ({ event, properties: { distinct_id } }));
  await sent((done) => bySecret.track_batch(now, done));
})().catch((error) => { console.error(error); process.exit(1); });
