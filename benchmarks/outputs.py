"""Speed of reading outputs, compared with just reading or decompressing the same bytes, and with cclib.

Run ``OACT_TEST_DATA=<folder of real outputs> python benchmarks/outputs.py``. Times are CPU times of one process with a
warm file cache, the median of many repetitions. The large files are made from the real ones in a temporary folder.
"""

import argparse
import gzip
import os
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

from measure import cpu_ms, peak_mb

from oact_dagster.orca.outputs.reader import read_output, read_termination

SINGLE_POINT = "oact__NpF3_quacc_orca.out.gz"
OPTIMISATION = "oact__UO2_opt_logs.out"
MB = 1_000_000


def long_optimisation(data: bytes, size: int) -> bytes:
    """Repeat cycles 3 to 6 of a real optimisation until the file has the wanted length."""
    first, last = (_cycle(data, number) for number in (3, 7))
    cycles = data[first:last]
    return data[:first] + cycles * ((size - len(data)) // len(cycles) + 2) + data[last:]


def _cycle(data: bytes, number: int) -> int:
    """Return the position of the box around a cycle's heading."""
    heading = data.index(b"GEOMETRY OPTIMIZATION CYCLE%4d " % number)
    return data.rindex(b"\n", 0, data.rindex(b"\n", 0, heading)) + 1


def cclib_ms(file: Path) -> float | None:
    try:
        from cclib.io.ccio import ccread
    except ImportError:
        return None
    return cpu_ms(lambda: ccread(str(file), loglevel=50), 1)


def gunzip() -> tuple[str, Callable[[bytes], bytes]]:
    """Decompress with the reader's library: isal if it is installed, else zlib."""
    try:
        from isal import isal_zlib
    except ImportError:
        return "zlib", lambda data: zlib.decompress(data, wbits=31)
    return "isal", lambda data: bytes(isal_zlib.decompress(data, wbits=31))


def unpacked(file: Path, unpack: Callable[[bytes], bytes]) -> bytes:
    return unpack(file.read_bytes())


def row(
    name: str, size: int, ours: float, base: float, base_name: str, theirs: float | None, target: str
) -> None:
    cclib = "-" if theirs is None else f"{theirs:.0f} ms, {theirs / ours:.0f}x"
    print(
        f"| {name} | {size / MB:.1f} | {ours:.2f} | {size / MB / ours * 1000:.0f} | {base:.2f} ({base_name}) "
        f"| {ours / base:.2f} | {cclib} | {target} |"
    )


def verdict(met: bool, text: str) -> str:
    return f"{text}: {'met' if met else 'NOT MET'}"


def files(data: Path, work: Path, *, with_cclib: bool) -> None:
    single, opt = work / "single_point.out", work / "optimisation.out"
    single.write_bytes(gzip.decompress((data / SINGLE_POINT).read_bytes()))
    opt.write_bytes(long_optimisation((data / OPTIMISATION).read_bytes(), 10 * MB))
    print("| file | MB | ms | MB/s | ms for the bytes alone | ratio | cclib | target |")
    print("|---|---|---|---|---|---|---|---|")
    for name, file, target in (("single point", single, 2.0), ("optimisation", opt, 60.0)):
        ours, base = cpu_ms(partial(read_output, file), 31), cpu_ms(file.read_bytes, 31)
        theirs = cclib_ms(file) if with_cclib else None
        row(name, file.stat().st_size, ours, base, "read", theirs, verdict(ours <= target, f"{target:g} ms"))
    packed_opt = work / "optimisation.out.gz"
    packed_opt.write_bytes(gzip.compress(opt.read_bytes(), 6))
    way, unpack = gunzip()
    for name, packed, plain in (
        ("single point, gzipped", data / SINGLE_POINT, single),
        ("optimisation, gzipped (made: it unpacks faster than a real one)", packed_opt, opt),
    ):
        ours, base = cpu_ms(partial(read_output, packed), 31), cpu_ms(partial(unpacked, packed, unpack), 31)
        met = verdict(ours <= 1.5 * base, "ratio 1.5") if packed != packed_opt else "-"
        row(name, plain.stat().st_size, ours, base, way, None, met)


def folders(data: Path, work: Path, number: int) -> None:
    """Survey job folders with a mixture of real outputs, normal and failed, plain and gzipped."""
    sources = [work / "single_point.out"]
    for source in sorted(data.iterdir()):
        if (
            "engrad" not in source.name
            and "atom95" not in source.name
            and source.suffix not in (".md", ".json")
        ):
            copy = work / f"source-{source.name}"
            copy.write_bytes(source.read_bytes())
            sources.append(copy)
    jobs = work / "jobs"
    for index in range(number):
        folder = jobs / f"job_{index}"
        folder.mkdir(parents=True)
        source = sources[index % len(sources)]
        os.link(source, folder / ("orca.out.gz" if source.name.endswith(".gz") else "orca.out"))
        (folder / "orca.inp").touch()
    paths = sorted(jobs.iterdir())
    print("\n| survey of job folders | folders | s | folders/s | target |\n|---|---|---|---|---|")
    for name, read in (("termination only", read_termination), ("everything", read_output)):
        start = time.process_time()
        for path in paths:
            read(path)
        took = time.process_time() - start
        target = verdict(took * 10_000 / number <= 10, "10 s for 10,000") if read is read_termination else "-"
        print(f"| {name} | {number:,} | {took:.2f} | {number / took:,.0f} | {target} |")


def memory(data: Path, work: Path) -> None:
    """Measure the peak memory for a file of 4 GB, a real optimisation with a hole in the middle."""
    text = (data / OPTIMISATION).read_bytes()
    middle = _cycle(text, 3)
    file = work / "large.out"
    with file.open("wb") as output:
        output.write(text[:middle])
        output.seek(4 << 30)
        output.write(b"\n" + text[middle:])
    run = subprocess.run(
        [sys.executable, __file__, "--one", str(file)], capture_output=True, text=True, check=True
    )
    seconds, peak = run.stdout.split()
    print("\n| file of 4 GB | s | peak memory, MB | target |\n|---|---|---|---|")
    print(f"| one process, Python included | {seconds} | {peak} | {verdict(float(peak) <= 64, '64 MB')} |")


def one(file: Path) -> None:
    start = time.process_time()
    read_output(file)
    took = time.process_time() - start
    print(f"{took:.2f} {peak_mb():.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--folders", type=int, default=10_000, help="number of job folders to survey")
    parser.add_argument(
        "--no-cclib", action="store_true", help="skip cclib, which takes seconds for each file"
    )
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        one(arguments.one)
        return
    where = os.environ.get("OACT_TEST_DATA")
    if not where or not (Path(where) / SINGLE_POINT).is_file():
        sys.exit(f"set OACT_TEST_DATA to a folder of real ORCA outputs that holds {SINGLE_POINT}")
    with tempfile.TemporaryDirectory() as name:
        files(Path(where), Path(name), with_cclib=not arguments.no_cclib)
        folders(Path(where), Path(name), arguments.folders)
        memory(Path(where), Path(name))


if __name__ == "__main__":
    main()
