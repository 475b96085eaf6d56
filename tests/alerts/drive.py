"""Drives each alert to fire by a real fault: the daemon mirrors simulated vendors into a private PostgreSQL, a real Prometheus scrapes it
every second with the shipped rules, their time run faster (scale.py), and says through its HTTP API what fires.

First everything is well, for longer than any of the alerts waits, and none may fire. Then faults befall single streams, then the
limits, the database and the daemon; every alert must fire for what was harmed, and none for what was not. Every expression of the
dashboard of operations must have found something by the end. KEEP=1 leaves logs and data where they are."""

import base64
import datetime
import json
import pathlib
import re
import signal
import sys
import time

import scale
from stage import Site, until

ROOT = pathlib.Path(__file__).resolve().parents[2]
RULES = ROOT / "deploy/prometheus/koresync.rules.yaml"
DASHBOARD = ROOT / "deploy/grafana/dashboards/operations.json"
# A contact takes nine minutes at most, and is listed at its end.
SETTLE = "10m"
# What may fire beside what is driven: whatever else comes of the fault.
LATE = {"KoresyncStreamBehind", "KoresyncNoSuccess", "KoresyncLiveWindowsWait", "KoresyncWindowsFailing", "KoresyncRechecksOverdue"}


def moment(**ago):
    return (datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(**ago)).strftime("%Y-%m-%dT%H:%M:%SZ")


def token(**claims):
    part = lambda value: base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")
    return f"{part({'alg': 'none'})}.{part(claims)}.x"


class Drill:
    def __init__(self, site):
        self.site = site
        self.rules, self.waits = scale.scaled(RULES.read_text())
        self.fired = {}
        self.rows = []
        self.unexpected = set()
        self.expected = set()
        self.queries = self.expressions()
        self.found = set()

    # What is there

    def start(self):
        site = self.site
        site.start_postgres()
        contacts = lambda a_day: ("--days", "1", "--contacts", str(a_day), "--appear-after", "0s")
        self.plain = site.vendor("plain", *contacts(20_000))[1]
        self.records = site.vendor("records", *contacts(60_000))[1]
        self.pages = site.vendor("pages", *contacts(260_000))[1]
        self.limit = site.vendor("limit", *contacts(20_000), "--retry-after", "seconds")[1]
        self.history = site.vendor("history", *contacts(20_000))[1]
        self.outage_vendor, self.outage = site.vendor("outage", *contacts(20_000))
        self.secret_options = (*contacts(20_000), "--client-id", "cs-1")
        self.secret_vendor, self.secret = site.vendor("secret", *self.secret_options, "--client-secret", "the first secret, long enough")
        self.many = site.vendor("many", *contacts(5_000_000))[1]
        self.token_file, self.secret_file = site.folder / "token", site.folder / "secret"
        for file in (self.token_file, self.secret_file):
            file.touch(mode=0o600)
        self.secret_file.write_text("the first secret, long enough")
        self.token_file.write_text(token(appId="cs-1", exp=int(time.time()) + 30 * 86_400))
        hour = moment(minutes=70)
        self.streams = {
            "steady": (self.plain, hour, ""),
            "window": (self.plain, hour, ""),
            "thin": (self.plain, hour, "page_size = 1\n"),
            "token": (self.plain, hour, f'token_file = "{self.token_file}"\n'),
            "records": (self.records, hour, ""),
            "pages": (self.pages, moment(minutes=12), "page_size = 1\n"),
            "limit": (self.limit, hour, ""),
            "history": (self.history, moment(hours=25), ""),
            "outage": (self.outage, hour, ""),
            "secret": (self.secret, hour, f'client_id = "cs-1"\nclient_secret_file = "{self.secret_file}"\n'),
        }
        configuration = self.configuration(self.streams, SETTLE)
        site.koresync(configuration, "migrate")
        site.start_daemon(configuration)
        site.start_prometheus(self.rules)

    def configuration(self, streams, settle, limits=None):
        limits = limits or {}
        text = (
            f'[warehouse]\nurl = "postgres://postgres@127.0.0.1:{self.site.postgres_port}/warehouse?sslmode=disable"\n'
            f'[api]\nbase_url = "http://127.0.0.1:{self.plain}"\naccount_id = "acc"\norg_id = "o-1"\nclient_id = "cs-1"\n'
            'client_secret = "a secret that this vendor does not look at"\n'
            f'[sync]\npoll_interval = "5s"\nsettle = "{settle}"\nrecheck = ["1m", "3m"]\ngive_up = "15s"\nworkers = 16\n'
            f'[server]\nlisten = "127.0.0.1:{self.site.daemon_port}"\n[log]\nformat = "json"\n'
        )
        for name, (port, start, more) in streams.items():
            # Each of an account of its own, so that none waits for another one's history or limit.
            text += (
                f'[streams.{name}]\nstream_id = "st-{name}"\nstart = "{start}"\nbase_url = "http://127.0.0.1:{port}"\n'
                f'account_id = "acc-{name}"\nrequests_per_minute = {limits.get(name, 60_000)}\n{more}'
            )
        path = self.site.folder / "koresync.toml"
        path.write_text(text)
        return path

    # What Prometheus says

    def look(self):
        """Notes what fires."""
        for alert, about, state in self.site.alerts():
            if state == "firing":
                about = about.removeprefix("acc-")
                self.fired.setdefault((alert, about), time.monotonic())
                if (alert, about) not in self.expected and (alert, about) not in self.unexpected:
                    self.unexpected.add((alert, about))
                    print(f"  FAILED: {alert} fires for {about}, which nothing was done to", flush=True)

    def watch(self, seconds):
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            self.look()
            time.sleep(1)

    def drive(self, faults, within):
        """Does all that is to be done, one thing to each stream, and waits until each alert fires for it."""
        waiting = {}
        for alerts, about, words, consequences, fault in faults:
            self.expected |= {(alert, about) for alert in {*alerts, *consequences}}
            for alert in alerts:
                if (alert, about) in self.fired:
                    self.row(alert, about, words, "FAILED: before the fault")
                else:
                    waiting[(alert, about)] = (words, time.monotonic())
            fault()
        began = time.monotonic()
        while waiting and time.monotonic() - began < within:
            self.look()
            for key in [key for key in waiting if key in self.fired]:
                words, since = waiting.pop(key)
                self.row(*key, words, f"{self.fired[key] - since:.0f} s")
            time.sleep(1)
        for key, (words, _) in waiting.items():
            self.row(*key, words, f"FAILED: not in {within} s")

    def row(self, alert, about, words, told):
        self.rows.append((alert, about, words, told))
        print(f"  {alert:26} {about:8} {told:>8}  {words}", flush=True)

    # The dashboard

    @staticmethod
    def expressions():
        """Every expression of the dashboard, by panel, with its variables filled in."""
        filled = {"${job}": ".*", "${stream}": ".*", "$__rate_interval": "30s", "$__range": "5m"}
        queries = {}
        for panel in json.loads(DASHBOARD.read_text())["panels"]:
            for target in panel.get("targets", []):
                if expression := target.get("expr"):
                    for variable, value in filled.items():
                        expression = expression.replace(variable, value)
                    assert "$" not in expression, f"a variable is left in {expression}"
                    queries[expression] = panel["title"]
        assert len(queries) > 30, f"only {len(queries)} expressions were found in the dashboard"
        return queries

    def ask_dashboard(self):
        for expression in set(self.queries) - self.found:
            if self.site.query(expression):
                self.found.add(expression)

    # The faults

    def break_window(self):
        """The window that holds one moment can never be committed; those before and after it can."""
        at = (datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(minutes=10) + datetime.timedelta(seconds=8)).isoformat()
        self.site.sql(
            "create function planted() returns trigger language plpgsql as $$ begin raise exception 'planted'; end $$; "
            "create trigger planted before update of state on koresync.windows for each row "
            f"when (new.state = 'verified' and new.stream = 'window' and new.from_at <= '{at}' and new.to_at > '{at}') execute function planted(); "
            "alter table koresync.windows enable always trigger planted"
        )

    def change_secret(self):
        self.secret_vendor.end()
        self.site.vendor("secret", *self.secret_options, "--client-secret", "another secret, long enough", port=self.secret)

    def stop_history(self):
        self.site.faults(self.history, http_503=1)
        self.site.koresync(
            self.site.folder / "koresync.toml", "backfill", "--stream", "history", "--from", moment(hours=5), "--to", moment(hours=3), "--detach"
        )

    def start_anew(self, streams, settle, **limits):
        """Another setting is an operator's mistake: the daemon is ended, and started with it."""
        self.site.daemon.end()
        self.site.start_daemon(self.configuration(streams, settle, limits))

    def restart(self):
        for _ in range(5):
            self.site.daemon.end()
            self.site.start_daemon(self.site.folder / "koresync.toml")
            # Prometheus looks every second.
            time.sleep(2)

    def hurry(self):
        # Of a crowd of contacts the last moments; nobody reads a day of them.
        self.start_anew({"steady": self.streams["steady"], "late": (self.many, moment(seconds=20), "")}, "1s")

    def starve(self):
        # At once after it was ended: who is behind is not asked what the limit carries.
        self.start_anew({name: self.streams[name] for name in ("steady", "thin")}, SETTLE, thin=1)

    def single_streams(self):
        site = self.site
        write_token = lambda: self.token_file.write_text(token(appId="cs-1", exp=int(time.time()) + 3_600))
        return [
            (["KoresyncStreamRefused"], "secret", "the vendor takes another secret", LATE, self.change_secret),
            (["KoresyncTokenExpires"], "token", "a token that ends in an hour", set(), write_token),
            (["KoresyncStreamBehind", "KoresyncNoSuccess"], "outage", "the vendor is gone", LATE, self.outage_vendor.end),
            (["KoresyncBackfillStuck"], "history", "the vendor answers 503, and a backfill is filed", LATE, self.stop_history),
            (["KoresyncWindowsFailing"], "window", "the database refuses one window", LATE - {"KoresyncNoSuccess"}, self.break_window),
            (["KoresyncWindowsUnverified"], "pages", "records slide between pages", LATE - {"KoresyncWindowsFailing"}, lambda: site.faults(self.pages, slid=1)),
            (
                ["KoresyncQuarantineGrows", "KoresyncSchemaDrift"],
                "records",
                "records that cannot be read, and unknown fields",
                set(),
                lambda: site.faults(self.records, malformed=0.5, drifted=0.5),
            ),
            (
                ["KoresyncRateLimited", "KoresyncBudgetStarved"],
                "limit",
                "half of the requests are refused as too many",
                LATE,
                lambda: site.faults(self.limit, rate_limited=0.5),
            ),
        ]

    # One after the other, each with a daemon that was started for it.
    def mistakes(self):
        return [
            [
                (
                    ["KoresyncLiveWindowsWait", "KoresyncRechecksOverdue", "KoresyncRechecksGivenUp"],
                    "thin",
                    "a limit of one request a minute",
                    LATE,
                    self.starve,
                )
            ],
            [(["KoresyncSettleTooShort"], "late", "a settle time of a second", LATE, self.hurry)],
        ]

    def run(self):
        self.start()
        healthy = max(self.waits.values()) + 60
        print("All is well: history is read", flush=True)
        self.settle()
        print(f"All is well for {healthy:.0f} s, and nothing may fire", flush=True)
        self.watch(healthy)
        if not self.fired:
            print("  nothing has fired", flush=True)
        self.ask_dashboard()
        print("Faults of single streams", flush=True)
        self.drive(self.single_streams(), 240)
        self.ask_dashboard()
        print("Mistakes in the configuration", flush=True)
        # What is settled after a second is too soon for every stream.
        self.expected.add(("KoresyncSettleTooShort", "steady"))
        for mistake in self.mistakes():
            self.drive(mistake, 400)
            self.ask_dashboard()
        print("Database and daemon", flush=True)
        gone = set(self.waits) - {"KoresyncAbsent"}
        self.expected |= {(alert, about) for alert in gone for about in ("steady", "late")}
        self.drive([(["KoresyncRestarts"], "daemon", "the daemon ends and is started again, five times", set(), self.restart)], 60)
        self.drive([(["KoresyncDatabaseOutOfReach"], "daemon", "the database is stopped", set(), self.site.stop_postgres)], 60)
        self.drive([(["KoresyncAbsent"], "-", "the daemon is ended", set(), self.site.daemon.end)], 60)
        return self.judge()

    def settle(self):
        """Waits until all streams are read and no backfill is open."""
        query = (
            "select count(*) = 0 from koresync.streams s where watermark < clock_timestamp() - interval '11 minutes' "
            "or exists (select from koresync.backfills where state = 'running')"
        )
        until("all history is read", lambda: self.site.sql(query) == "t", 180)
        # To begin with all streams are read at once, which takes minutes on a small machine: days at the pace of these rules.
        firing = lambda: sorted(f"{alert} for {about}" for alert, about, state in self.site.alerts() if state == "firing")
        try:
            until("what the beginning brought is over", lambda: not firing(), 180)
        except TimeoutError:
            sys.exit(f"FAILED: all is well, and yet there fires {', '.join(firing())}")

    def judge(self):
        driven = {alert for alert, *_ in self.rows}
        failed = bool(self.unexpected)
        print(f"\n{'ALERT':26} {'OF':8} {'FASTER BY':>9} {'FIRED AFTER':>11}  FAULT")
        for alert, about, words, told in self.rows:
            print(f"{alert:26} {about:8} {scale.divisor(alert):9} {told:>11}  {words}")
            failed |= "FAILED" in told
        for alert in sorted(set(self.waits) - driven):
            failed = True
            print(f"FAILED: {alert} is driven by nothing")
        for alert, about in sorted(self.unexpected):
            print(f"FAILED: {alert} fired for {about}, which nothing was done to")
        print(f"{len(self.found)} of {len(self.queries)} expressions of the dashboard found something")
        for expression in sorted(set(self.queries) - self.found):
            failed = True
            print(f"FAILED: {self.queries[expression]}: nothing was ever found by {expression}")
        return 1 if failed else 0


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    site = Site(sys.argv[1])
    try:
        return Drill(site).run()
    finally:
        site.close()


if __name__ == "__main__":
    sys.exit(main())
