"use strict";
// Imports a file with the npm package mixpanel-import into a server on this machine:
// node mixpanel_import.js FILE URL. Its settings are the fastest that were found.
const undici = require("undici");
const [file, server] = process.argv.slice(2);

class LocalPool extends undici.Pool {
  constructor(origin, options) {
    super(server, options);
  }
}
undici.Pool = LocalPool;

const account = { project: 1, acct: "user", pass: "password", token: "token" };
const settings = {
  recordType: "event",
  fixData: true,
  aliases: { insert_id: "$insert_id" },
  workers: 10,
  highWater: 65536,
  abridged: true,
  compress: true,
  compressionLevel: 1,
  verbose: false,
  logs: false,
  showProgress: false,
};
require("mixpanel-import")(account, file, settings).then((result) => process.exit(result.failed ? 1 : 0));
