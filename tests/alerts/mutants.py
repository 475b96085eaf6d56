"""Changes each alert of deploy/prometheus in one place at a time, and demands that its unit tests notice.

Thresholds and times are doubled and halved, `for` is made four times as long and taken away, comparisons are turned round, clauses
left out, aggregations exchanged. Ends with 1 and names the changes that nobody notices."""

import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
RULES = ROOT / "deploy/prometheus/koresync.rules.yaml"
# Changes that change nothing, and why.
THE_SAME = {
    ("KoresyncDatabaseOutOfReach", "min at 0 is max"): "an instance has one check called database",
    ("KoresyncStreamBehind", "sum at 255 is max"): "numbers of windows are not negative, so both are above 0 or neither is",
    ("KoresyncRechecksOverdue", "sum at 148 is max"): "as above",
    ("KoresyncRateLimited", "the second 15m is 450s"): "a shorter look at all requests, of which those refused are a part, fires later or never",
}
TESTS = sorted((ROOT / "deploy/prometheus/tests").glob("*.yaml"))


def alerts(text):
    """Name, start and end of each alert's lines."""
    starts = [(m.group(1), m.start()) for m in re.finditer(r"(?m)^ *- alert: (\w+)$", text)]
    ends = [start for _, start in starts[1:]] + [len(text)]
    return [(name, start, end) for (name, start), end in zip(starts, ends)]


def expression(rule):
    """Where the expression is within a rule's lines."""
    begin = re.search(r"(?m)^ *expr: (?:\|\n)?", rule).end()
    return begin, re.search(r"(?m)^ *for: ", rule).start()


def clauses(text):
    """The clauses that `unless` and `and` begin, each up to the bracket that closes around it, or the end."""
    for match in re.finditer(r"\b(unless|and) on \([^)]*\)", text):
        depth, end = 0, len(text)
        for place in range(match.end(), len(text)):
            depth += {"(": 1, ")": -1}.get(text[place], 0)
            if depth < 0:
                end = place
                break
        yield match.start(), end, match.group(1)


def mutants(rule):
    """What is changed, and the rule with it."""
    begin, end = expression(rule)
    text = rule[begin:end]

    def put(start, stop, new):
        return rule[: begin + start] + new + rule[begin + stop :]

    seen = []
    for match in re.finditer(r"(?<![\w.\"])(\d+(?:\.\d+)?)([smhd]?)(?![\w.])", text):
        number, unit = match.groups()
        seen.append(match.group())
        told = f"the second {match.group()}" if seen.count(match.group()) > 1 else match.group()
        if float(number) > 1 or unit or "." in number:
            for factor in (2, 0.5):
                changed = float(number) * factor
                changed = f"{round(changed * 60)}s" if unit == "m" else f"{changed:g}{unit}"
                yield f"{told} is {changed}", put(*match.span(), changed)
    for match in re.finditer(r"> 1$", text, re.M):
        for other in ("> 0", "> 3"):
            yield f"{match.group()} is {other}", put(*match.span(), other)
    turned = {">": ["<", ">="], "<": [">"], "==": ["!="]}
    for match in re.finditer(r" (>|<|==) ", text):
        for other in turned[match.group(1)]:
            if other != ">=" or text[match.end()] == "0" and text[match.end() + 1] in ")\n":
                yield f"{match.group(1)} is {other}", put(*match.span(), f" {other} ")
    for match in re.finditer(r"\b(max|min|sum) by", text):
        for other in {"max": ["min"], "min": ["max"], "sum": ["max"]}[match.group(1)]:
            yield f"{match.group(1)} at {match.start()} is {other}", put(*match.span(), f"{other} by")
    for start, stop, word in clauses(text):
        yield f"the clause {word} is left out", put(start, stop, "\n" if stop == len(text) else "")
        yield f"{word} is {'and' if word == 'unless' else 'unless'}", put(start, start + len(word), "and" if word == "unless" else "unless")
    waits = re.search(r"(?m)^( *for: )(\d+)([smhd])$", rule)
    for changed in ("0s", f"{int(waits.group(2)) * 4}{waits.group(3)}"):
        yield f"for is {changed}", rule[: waits.start()] + waits.group(1) + changed + rule[waits.end() :]


def cases(name):
    """The unit tests of one alert, as a file of their own: the whole of them takes seconds each time."""
    head, told = "", ""
    for test in TESTS:
        begin, rest = test.read_text().split("tests:\n", 1)
        head = begin.replace("../", "") + "tests:\n"
        told += "".join(case for case in re.split(r"(?m)^(?=  - name: )", rest) if f"alertname: {name}\n" in case)
    return head + told


def promtool(what, file):
    return subprocess.run(["promtool", what, "rules", file], capture_output=True, check=False).returncode == 0


def main():
    text = RULES.read_text()
    found = alerts(text)
    head = text[: found[0][1]]
    tried, missed = 0, []
    with tempfile.TemporaryDirectory() as place:
        rules, tests = pathlib.Path(place, "koresync.rules.yaml"), pathlib.Path(place, "tests.yaml")

        def passes(name, rule):
            rules.write_text(head + rule)
            if not promtool("check", rules):
                sys.exit(f"a change of {name} is no rule:\n{rule}")
            return promtool("test", tests)

        for name, start, end in found:
            tests.write_text(cases(name))
            if not passes(name, text[start:end]):
                sys.exit(f"the tests of {name} fail as it is")
            for what, rule in mutants(text[start:end]):
                tried += 1
                if (name, what) in THE_SAME:
                    tried -= 1
                elif passes(name, rule):
                    missed.append(f"{name}: {what}")
                    print(f"NOT NOTICED: {missed[-1]}", flush=True)
    print(f"{tried} changes of the alerts were tried, {tried - len(missed)} noticed; {len(THE_SAME)} that change nothing were left out")
    return 1 if missed or tried < 100 else 0


if __name__ == "__main__":
    sys.exit(main())
