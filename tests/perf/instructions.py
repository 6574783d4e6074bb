#!/usr/bin/env python3
"""Counts the instructions of the cases of `crates/llm-wire/benches/instructions.rs` with callgrind.

usage: instructions.py BINARY [--update] [--against FILE]

Each case runs twice, a few times and some more; the difference is what one run costs. The counts
are compared with those in baseline.tsv of the same compiler and the same vector extensions, and a
case that has grown by more than LIMIT fails. `--update` writes the counts of this machine into the
file. Where there are none for this compiler, the counts are printed and nothing is compared. With
`--against` another file takes the place of baseline.tsv.
"""

import pathlib
import re
import subprocess
import sys
import tempfile

LIMIT = 0.03
FEW, MORE = 2, 22
BASELINE = pathlib.Path(__file__).with_name("baseline.tsv")


def take_file(default: pathlib.Path) -> pathlib.Path:
    """Takes `--against FILE` out of the arguments, and returns the file that has the known counts."""
    if "--against" not in sys.argv:
        return default
    at = sys.argv.index("--against")
    file = pathlib.Path(sys.argv[at + 1])
    del sys.argv[at : at + 2]
    return file


def count(binary: str, case: str, times: int) -> int:
    with tempfile.TemporaryDirectory() as folder:
        out = f"{folder}/out"
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", binary, case, str(times)]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        if run.returncode != 0:
            sys.exit(f"callgrind failed for {case}: {run.stderr[-2000:]}")
        totals = re.search(r"^(?:totals|summary): (\d+)", pathlib.Path(out).read_text(), re.M)
        return int(totals.group(1))


def environment() -> str:
    rustc = subprocess.run(["rustc", "--version"], capture_output=True, text=True, check=True).stdout.split()[1]
    flags = next((line for line in open("/proc/cpuinfo") if line.startswith("flags")), "")
    vectors = [flag for flag in ("avx512f", "avx2", "sse4_2") if f" {flag}" in flags]
    return f"rustc {rustc} {vectors[0] if vectors else 'plain'}"


def read_counts(file: pathlib.Path) -> dict[tuple[str, str], int]:
    """Returns the known counts by compiler and case."""
    if not file.exists():
        return {}
    rows = [line.split("\t") for line in file.read_text().splitlines() if line and not line.startswith("#")]
    return {(env, case): int(n) for env, case, n in rows}


def main() -> None:
    file = take_file(BASELINE)
    binary, update = sys.argv[1], "--update" in sys.argv[2:]
    cases = subprocess.run([binary], capture_output=True, text=True, check=True).stdout.split()
    env, known, grown = environment(), read_counts(file), []
    for case in cases:
        counted = (count(binary, case, MORE) - count(binary, case, FEW)) // (MORE - FEW)
        before = known.get((env, case))
        change = f"{(counted - before) / before:+.1%}" if before else "not known"
        print(f"{case:32} {counted:>9} instructions  {change}")
        if before and counted > before * (1 + LIMIT):
            grown.append(case)
        if update:
            known[(env, case)] = counted
    if update:
        rows = [f"{env}\t{case}\t{n}" for (env, case), n in sorted(known.items())]
        file.write_text("# environment, case, instructions: written by instructions.py --update\n" + "\n".join(rows) + "\n")
    elif grown:
        sys.exit(f"more than {LIMIT:.0%} over {file.name}: {', '.join(grown)}; "
                 "if that is meant, run tests/run perf with UPDATE_PERF=1")


if __name__ == "__main__":
    main()
