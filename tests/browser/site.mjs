// A private PostgreSQL, simulated vendors and daemons, all of which end with this process.

import { execFileSync, spawn } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";

const { PROGRAM, BINDIR } = process.env;

export const freePort = () => new Promise((found) => {
  const server = createServer();
  server.listen(0, "127.0.0.1", () => {
    const { port } = server.address();
    server.close(() => found(port));
  });
});

export const until = async (what, holds, within = 60_000) => {
  const end = Date.now() + within;
  for (;;) {
    const value = await holds();
    if (value) return value;
    if (Date.now() > end) throw new Error(`it never came to it: ${what}`);
    await new Promise((go) => setTimeout(go, 100));
  }
};

export class Site {
  children = [];

  static async start() {
    const site = new Site();
    site.folder = mkdtempSync(join(tmpdir(), "koresync-browser-"));
    site.port = await freePort();
    site.isRoot = userInfo().uid === 0;
    if (site.isRoot) execFileSync("chown", ["postgres", site.folder]);
    site.server("initdb", "-D", site.data, "-U", "postgres", "--auth=trust", "--no-sync");
    site.startDatabase();
    return site;
  }

  get data() { return join(this.folder, "data"); }

  server(program, ...words) {
    const line = [join(BINDIR, program), ...words];
    const [first, ...rest] = this.isRoot ? ["runuser", "-u", "postgres", "--", ...line] : line;
    return execFileSync(first, rest, { cwd: "/", stdio: ["ignore", "ignore", "ignore"] });
  }

  startDatabase() {
    const options = `-p ${this.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories=''`;
    this.server("pg_ctl", "-D", this.data, "-o", options, "-l", join(this.data, "log"), "-w", "start");
  }

  stopDatabase() { this.server("pg_ctl", "-D", this.data, "-m", "immediate", "stop"); }

  psql(database, sql) {
    const line = ["-h", "127.0.0.1", "-p", String(this.port), "-U", "postgres", "-d", database, "-qAt", "-c", sql];
    return execFileSync("psql", line, { encoding: "utf8" }).trim();
  }

  koresync(configuration, ...words) {
    return execFileSync(PROGRAM, ["--config", configuration, ...words], { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
  }

  // Data of a program's output until a line shows it.
  spawned(words, holds, stream = "stdout") {
    const child = spawn(PROGRAM, words, { stdio: ["ignore", "pipe", "pipe"] });
    this.children.push(child);
    let text = "";
    return new Promise((shown, failed) => {
      child.on("exit", (code) => failed(new Error(`${words.join(" ")} ended with ${code}: ${text}`)));
      child[stream].on("data", (data) => {
        text += data;
        const found = holds(text);
        if (found) shown({ child, found });
      });
      child[stream === "stdout" ? "stderr" : "stdout"].on("data", (data) => { text += stream === "stdout" ? data : ""; });
    });
  }

  // Its address, and the lines of [api] and [streams] that it tells.
  async vendor(...options) {
    const port = await freePort();
    const told = (text) => text.includes("\nThen:") && text;
    const { child, found } = await this.spawned(["simulate", "--listen", `127.0.0.1:${port}`, ...options], told);
    return { child, port, sections: found.slice(found.indexOf("[api]"), found.indexOf("\nThen:")) };
  }

  async migrated(name) {
    this.psql("postgres", `create database ${name}`);
    return name;
  }

  configuration(name, vendor, lines = "") {
    const file = join(this.folder, `${name}.toml`);
    writeFileSync(file, `[warehouse]\nurl = "postgres://postgres@127.0.0.1:${this.port}/${name}?sslmode=disable"\n`
      + `[server]\nlisten = "127.0.0.1:0"\n${lines}\n${vendor.sections}\n`);
    chmodSync(file, 0o600);
    return file;
  }

  async daemon(configuration) {
    const address = (text) => /"address":"([^"]+)"/.exec(text)?.[1];
    const words = ["--config", configuration, "run", "--log-format", "json"];
    const { child, found } = await this.spawned(words, address, "stderr");
    return { child, url: `http://${found}` };
  }

  async end(child) {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.removeAllListeners("exit");
    const ended = new Promise((go) => child.once("exit", go));
    child.kill("SIGTERM");
    const late = setTimeout(() => child.kill("SIGKILL"), 15_000);
    await ended;
    clearTimeout(late);
  }

  async stop() {
    for (const child of this.children.reverse()) {
      child.removeAllListeners("exit");
      if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL");
    }
    try { this.stopDatabase(); } catch { /* It is stopped already. */ }
    rmSync(this.folder, { recursive: true, force: true });
  }
}
