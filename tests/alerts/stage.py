"""What the alerts are driven with: a private PostgreSQL, simulated vendors, the daemon and Prometheus. All of it listens on
127.0.0.1 and ends with the script; a process is ended by its id and by nothing else."""

import json
import os
import pathlib
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

PATIENCE = 60


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def get(url, data=None):
    # Never by way of a proxy of the environment.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(urllib.request.Request(url, data=data), timeout=10) as answer:
        return answer.read().decode()


def until(what, holds, patience=PATIENCE):
    """Waits until something holds; gives what it gave."""
    began = time.monotonic()
    while True:
        value = holds()
        if value:
            return value
        if time.monotonic() - began > patience:
            raise TimeoutError(f"not within {patience} s: {what}")
        time.sleep(0.2)


class Process:
    """A program of ours, its output in a file."""

    def __init__(self, site, name, command):
        self.log = site.folder / f"{name}.log"
        with self.log.open("ab") as log:
            self.child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=site.folder, env=site.environment()
            )
        site.processes.append(self)

    def is_alive(self):
        return self.child.poll() is None

    def end(self, patience=15):
        if self.is_alive():
            self.child.terminate()
            try:
                self.child.wait(patience)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()
        return self.child.returncode


class Site:
    def __init__(self, program):
        self.program = program
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="koresync-alerts."))
        self.processes = []
        self.postgres = None
        self.daemon = None
        self.daemon_port, self.prometheus_port = free_port(), free_port()

    def close(self):
        for process in reversed(self.processes):
            process.end()
        if self.postgres:
            self.stop_postgres()
        if os.environ.get("KEEP"):
            print(f"kept: {self.folder}")
        else:
            shutil.rmtree(self.folder, ignore_errors=True)

    # PostgreSQL

    def as_server(self, *command):
        """PostgreSQL's programs refuse to run as root."""
        user = {"user": "postgres", "group": pwd.getpwnam("postgres").pw_gid, "extra_groups": []} if os.getuid() == 0 else {}
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/", **user)

    def start_postgres(self):
        self.postgres_port = free_port()
        programs = pathlib.Path(subprocess.run(["pg_config", "--bindir"], check=True, capture_output=True, text=True).stdout.strip())
        self.postgres = programs / "pg_ctl"
        self.data = self.folder / "postgres"
        self.data.mkdir()
        if os.getuid() == 0:
            # Its user has to come through.
            self.folder.chmod(0o711)
            shutil.chown(self.data, "postgres", "postgres")
        self.as_server(programs / "initdb", "-D", self.data / "data", "-U", "postgres", "--auth=trust", "--no-sync")
        with (self.data / "data/postgresql.conf").open("a") as settings:
            settings.write(f"port = {self.postgres_port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = ''\nfsync = off\n")
        self.run_postgres()
        self.sql("create database warehouse", "postgres")

    def run_postgres(self):
        self.as_server(self.postgres, "-D", self.data / "data", "-l", self.data / "log", "-w", "start")

    def stop_postgres(self):
        try:
            self.as_server(self.postgres, "-D", self.data / "data", "-m", "immediate", "-w", "stop")
        except subprocess.CalledProcessError:
            pass  # It does not run.

    def sql(self, text, database="warehouse"):
        url = f"postgres://postgres@127.0.0.1:{self.postgres_port}/{database}?sslmode=disable"
        command = ["psql", "-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-c", text, url]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    # The vendor

    def vendor(self, name, *options, port=None):
        """Starts a simulated vendor; gives it and its port."""
        port = port or free_port()
        process = Process(self, f"vendor-{name}", [self.program, "simulate", "--listen", f"127.0.0.1:{port}", "--requests-per-minute", "0", *options])

        def answers():
            assert process.is_alive(), f"the vendor {name} ended: {process.log.read_text()}"
            try:
                return get(f"http://127.0.0.1:{port}/stats")
            except urllib.error.URLError:
                return None

        until(f"the vendor {name} answers", answers)
        return process, port

    def faults(self, port, **faults):
        get(f"http://127.0.0.1:{port}/control", json.dumps({"faults": faults}).encode())

    # The daemon

    def koresync(self, configuration, *arguments):
        return subprocess.run(
            [self.program, "--config", configuration, *arguments], check=True, capture_output=True, text=True, env=self.environment()
        )

    @staticmethod
    def environment():
        return {name: value for name, value in os.environ.items() if not name.startswith(("KORESYNC", "PG", "RUST_LOG"))}

    def start_daemon(self, configuration):
        self.daemon = Process(self, "daemon", [self.program, "--config", configuration, "run"])

        def is_ready():
            assert self.daemon.is_alive(), f"the daemon ended: {self.daemon.log.read_text()[-3000:]}"
            try:
                return "ready" in get(f"http://127.0.0.1:{self.daemon_port}/readyz").splitlines()
            except urllib.error.URLError:
                return False

        until("the daemon is ready", is_ready)

    # Prometheus

    def start_prometheus(self, rules):
        (self.folder / "koresync.rules.yaml").write_text(rules)
        configuration = self.folder / "prometheus.yaml"
        configuration.write_text(
            "global: {scrape_interval: 1s, evaluation_interval: 1s}\n"
            "rule_files: [koresync.rules.yaml]\n"
            "scrape_configs:\n"
            "  - job_name: koresync\n"
            "    static_configs:\n"
            f"      - {{targets: ['127.0.0.1:{self.daemon_port}'], labels: {{namespace: drill}}}}\n"
        )
        subprocess.run(["promtool", "check", "config", configuration], check=True, capture_output=True)
        Process(
            self,
            "prometheus",
            [
                "prometheus",
                f"--config.file={configuration}",
                f"--storage.tsdb.path={self.folder / 'tsdb'}",
                f"--web.listen-address=127.0.0.1:{self.prometheus_port}",
                # As shipped, five minutes: a series of a daemon that is gone would be looked at for so long.
                "--query.lookback-delta=10s",
                "--log.level=warn",
            ],
        )

        def is_scraped():
            try:
                return self.query("koresync_build_info")
            except urllib.error.URLError:
                return None

        until("Prometheus has scraped the daemon", is_scraped)

    def ask(self, path, **parameters):
        return json.loads(get(f"http://127.0.0.1:{self.prometheus_port}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"))["data"]

    def query(self, expression):
        """The values of an instant query that are numbers."""
        data = self.ask("query", query=expression)
        samples = data["result"] if data["resultType"] == "vector" else [{"value": data["result"]}]
        return [float(sample["value"][1]) for sample in samples if sample["value"][1] != "NaN"]

    def alerts(self):
        """Name, what it is about (a stream, an account, an instance), and state, of each alert that is pending or fires."""
        for alert in self.ask("alerts")["alerts"]:
            labels = alert["labels"]
            about = labels.get("stream") or labels.get("account") or labels.get("instance") and "daemon" or "-"
            yield labels["alertname"], about, alert["state"]
