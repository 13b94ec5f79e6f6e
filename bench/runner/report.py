"""The table, and the goals below it."""

import statistics

COLUMNS = "{:<24}{:>12}{:>10}{:>10}{:>12}{:>9}   {}"
HEAD = ("", "throughput", "p50", "p99", "CPU/op", "instr/op", "CPU/op against liburing, same round")


def quartiles(values):
    """(lower quartile, median, upper quartile)"""
    if len(values) < 2:
        return values[0], values[0], values[0]
    return tuple(statistics.quantiles(values, n=4, method="inclusive"))


def ratios(rounds, one, other, figure):
    return quartiles([getattr(r[one], figure) / getattr(r[other], figure) for r in rounds])


def spread(three):
    return f"{three[1]:.2f} ({three[0]:.2f}-{three[2]:.2f})"


def median(rounds, name, figure):
    values = [getattr(r[name], figure) for r in rounds]
    return None if None in values else statistics.median(values)


def time_text(ns):
    if ns is None:
        return "-"
    if ns < 99950:
        return f"{ns / 1e3:.1f} us"
    return f"{ns / 1e3:.0f} us" if ns < 9.9995e6 else f"{ns / 1e6:.1f} ms"


def head():
    return COLUMNS.format(*HEAD).rstrip()


def section(title, rounds, names, instructions, rate_text, cpu_text, peer="liburing"):
    """The rows of one piece of work."""
    lines = [f"{title}, median of {len(rounds)} rounds"]
    for name in names:
        counted = instructions.get(name)
        lines.append(COLUMNS.format(
            "  " + name, rate_text(median(rounds, name, "rate")),
            time_text(median(rounds, name, "p50_ns")), time_text(median(rounds, name, "p99_ns")),
            cpu_text(median(rounds, name, "cpu_ns")),
            "-" if counted is None else f"{counted:.0f}",
            spread(ratios(rounds, name, peer, "cpu_ns"))))
    return lines


def echo_section(case, rounds, names, instructions):
    return section(case.name() + ": op = message there and back", rounds, names, instructions,
                   lambda rate: f"{rate / 1e3:.1f} k/s", lambda ns: f"{ns / 1e3:.2f} us")


def copy_section(title, rounds, names, instructions):
    return section(title + ": op = MiB; p50, p99 of one block", rounds, names, instructions,
                   lambda rate: f"{rate / (1 << 30):.2f} GiB/s", lambda ns: f"{ns / 1e3:.0f} us")


def http_section(title, rounds, names, peer):
    return section(f"{title}, on two cores; last column: against {peer}", rounds, names, {},
                   lambda rate: f"{rate / 1e3:.1f} k/s", lambda ns: f"{ns / 1e3:.2f} us", peer)


def verdict(met):
    return "met" if met else "NOT met"


def adapter_goals(rounds, subject, case, instructions):
    """What Ferry has to reach in the echo where the system only tells of readiness."""
    cpu = ratios(rounds, subject, "libuv", "cpu_ns")
    rate = ratios(rounds, subject, "libuv", "rate")
    counted = instructions.get(subject)
    lines = [f"  {subject}, {case}: CPU per message {spread(cpu)} x libuv (<= 1.00), messages per "
             f"second {spread(rate)} x (>= 1.00): {verdict(cpu[1] <= 1.00 and rate[1] >= 1.00)}"]
    if counted is not None:
        lines.append(f"  {subject}, {counted:.0f} instructions per message (<= 600): "
                     f"{verdict(counted <= 600)}")
    return lines


def mode_goals(rounds, subject, case, is_goal):
    """What a thread that stands in costs, and one that does it all, beside none."""
    auto = ratios(rounds, "auto", "inline", "cpu_ns")
    dedicated = ratios(rounds, "dedicated", "inline", "cpu_ns")
    rate = ratios(rounds, "dedicated", "inline", "rate")
    limit = f" (<= 1.05): {verdict(auto[1] <= 1.05)}" if is_goal else ""
    return [f"  {subject}, {case}: CPU per message auto {spread(auto)} x inline{limit}; dedicated "
            f"{spread(dedicated)} x inline, messages per second {spread(rate)} x"]


def echo_goals(rounds, subject, instructions):
    """What Ferry has to reach in the echo, and whether the peer is good enough to be a limit."""
    peer_text = ratios(rounds, "liburing", "epoll", "cpu_ns")
    peer_fit = instructions["liburing"] <= 220 and peer_text[1] <= 0.90
    against_uring = ratios(rounds, subject, "liburing", "cpu_ns")
    against_uv = ratios(rounds, subject, "libuv", "cpu_ns")
    counted = instructions[subject]
    return [
        f"  liburing is a limit: {instructions['liburing']:.0f} instructions (<= 220), CPU "
        f"{spread(peer_text)} x epoll (<= 0.90): {'yes' if peer_fit else 'NO, not in this run'}",
        f"  {subject}, CPU per message {spread(against_uring)} x liburing (<= 1.10): "
        f"{verdict(against_uring[1] <= 1.10)}",
        f"  {subject}, CPU per message {spread(against_uv)} x libuv (< 1.00): "
        f"{verdict(against_uv[1] < 1.00)}",
        f"  {subject}, {counted:.0f} instructions per message (<= 500): {verdict(counted <= 500)}",
    ]


def http_goals(rounds, subject, peer, checked):
    against_peer = ratios(rounds, subject, peer, "cpu_ns")
    return [f"  {subject}, http: {checked[subject]} replies looked at, all 200 and of the right "
            f"length; CPU per request {spread(against_peer)} x {peer} (<= 1.00): "
            f"{verdict(against_peer[1] <= 1.00)}"]


def idle_goals(subject, memory, connections):
    return [f"  {subject}, {memory:.0f} bytes of process memory per idle connection, of {connections} "
            f"(<= 300): {verdict(memory <= 300)}"]


def read_goals(subject, rounds, limited):
    """limited: where the read needs no hand-over. A ring's goes there and back, one at a time."""
    plain = statistics.median(plain for plain, _ in rounds)
    ratio = quartiles([ferry / plain for plain, ferry in rounds])
    limit = f" (<= 1.60): {verdict(ratio[1] <= 1.60)}" if limited else ""
    return [f"  {subject}, a cached read of 4 KiB, one at a time: CPU {spread(ratio)} x pread, which "
            f"takes {plain:.0f} ns{limit}"]


def copy_goals(rounds, subject):
    against_cp = ratios(rounds, subject, "cp", "wall_ns")
    return [f"  {subject}, copy takes {spread(against_cp)} x cp --reflink=never (<= 1.00): "
            f"{verdict(against_cp[1] <= 1.00)}"]
