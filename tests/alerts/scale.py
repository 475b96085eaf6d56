"""The shipped alerts with their time run faster: each alert's durations, and its thresholds in seconds, are divided by one number,
so that the expressions that are tested are those that are shipped. What is no time (a share, a count) stays as it is."""

import re

# Alerts that wait for hours or days are driven within a minute; all others thirty times as fast as shipped.
DIVISOR = 30
DIVISORS = {
    # Gauges are set every ten seconds whatever the pace is: so that a busy machine does not look like one that is starved, more of
    # them have to say so.
    "KoresyncLiveWindowsWait": 15,
    "KoresyncBackfillStuck": 60,
    "KoresyncBudgetStarved": 60,
    "KoresyncWindowsUnverified": 360,
    "KoresyncRechecksGivenUp": 720,
    "KoresyncSettleTooShort": 720,
    "KoresyncRechecksOverdue": 11520,
}
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
# A number of the expressions from here on is a time in seconds; shares and counts are far below.
SHORTEST_SECONDS = 60


def divisor(name):
    return DIVISORS.get(name, DIVISOR)


def duration(number, unit, by):
    """As Prometheus writes durations: a whole number of milliseconds."""
    return f"{max(1, round(int(number) * SECONDS[unit] * 1000 / by))}ms"


def scaled(rules):
    """The text of a file of rules, scaled, and for each alert what it waits for in seconds, `for` and ranges together."""
    text, waits = [], {}
    for part in re.split(r"(?m)^(?= *- alert: )", rules):
        name = re.match(r" *- alert: (\w+)", part)
        if not name:
            text.append(part)
            continue
        name = name.group(1)
        by = divisor(name)
        head, rest = part.split("expr:", 1)
        expression, rest = re.split(r"(?m)^(?= *for: )", rest, maxsplit=1)
        expression = re.sub(r"(?m)^ *#.*\n", "", expression)
        expression = re.sub(r"\b(\d+)([smhd])\b", lambda m: duration(*m.groups(), by), expression)
        expression = re.sub(
            r"(?<![\w.])\d+(?![\w.])",
            lambda m: f"{int(m.group()) / by:g}" if int(m.group()) >= SHORTEST_SECONDS else m.group(),
            expression,
        )
        number, unit = re.match(r" *for: (\d+)([smhd])\n", rest).groups()
        waits[name] = int(number) * SECONDS[unit] / by
        rest = rest.replace(f"for: {number}{unit}", f"for: {duration(number, unit, by)}", 1)
        text.append(f"{head}expr:{expression}{rest}")
    return "".join(text), waits
