"""A stand-in for the command ``flux``, which answers as Flux 0.88 was recorded to, with its faults.

It keeps its jobs in one folder (``STAND_IN_FLUX``) and runs each as a process. It is no kinder than the real one: bad
ids are errors, JSON of one id is a bare object, ids are not ASCII unless asked for, a job in a folder that is not there
completes, and a file ``fault`` there names what goes wrong: hang, hang-after, die-after N, no-broker, refuse, limit N,
lag, unsatisfiable.
"""

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(os.environ["STAND_IN_FLUX"])
DIGITS = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def f58(number: int) -> str:
    text = ""
    while True:
        number, digit = divmod(number, 58)
        text = DIGITS[digit] + text
        if not number:
            return ("f" if os.environ.get("FLUX_F58_FORCE_ASCII") else "ƒ") + text


def fault() -> list[str]:
    file = ROOT / "fault"
    return file.read_text().split() if file.exists() else [""]


def hang() -> None:
    signal.pause()


def fail(text: str) -> int:
    print(text, file=sys.stderr)
    return 1


def load() -> list[dict]:
    found = []
    for file in sorted(ROOT.glob("job-*.json")):
        job = json.loads(file.read_text())
        ended = ROOT / f"end-{job['id']}"
        if job["state"] != "INACTIVE" and ended.exists():
            job |= json.loads(ended.read_text())
        found.append(job)
    return found


def submit(arguments: list[str]) -> int:
    options = dict(a.split("=", 1) for a in arguments if a.startswith("--") and "=" in a)
    first, last = map(int, options["--cc"].split("-"))
    command = arguments[arguments.index("bash") :]
    what = fault()
    if what[0] == "refuse":
        for number in range(first, last + 1):
            print(
                f"cc={number}: [Errno 22] Invalid queue {options.get('--queue')!r} specified", file=sys.stderr
            )
        return 1
    failed = 0
    for number in range(first, last + 1):
        active = sum(job["state"] != "INACTIVE" for job in load())
        if what[0] == "limit" and active >= int(what[1]):
            print(f"cc={number}: [Errno 1] user has max active jobs", file=sys.stderr)
            failed = 1
            continue
        if what[0] == "die-after" and number - first >= int(what[1]):
            (ROOT / "fault").unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        with (ROOT / "count").open("a+") as count:
            fcntl.flock(count, fcntl.LOCK_EX)
            count.seek(0)
            job_id = 357321146368 + 16777216 * len(count.read())
            count.write("x")
        name = options["--job-name"].format(cc=number)
        job = {
            "id": job_id, "jobid": f58(job_id), "name": name, "state": "RUN", "status": "RUN", "result": "",
            "returncode": "", "exception": {"occurred": "", "severity": "", "type": "", "note": ""},
            "t_submit": time.time(), "nodelist": "vm",
        }  # fmt: skip
        if what[0] == "unsatisfiable":
            note = "unsatisfiable request: need 5 node(s), only 4 eligible"
            job |= {
                "state": "INACTIVE",
                "result": "FAILED",
                "returncode": 1,
                "exception": told("alloc", note),
            }
            (ROOT / f"job-{job_id}.json").write_text(json.dumps(job))
            print(f58(job_id), flush=True)
            continue
        environment = {**os.environ, "FLUX_JOB_CC": str(number), "FLUX_JOB_ID": f58(job_id)}
        with Path(options["--output"].format(cc=number)).open("ab") as log:
            runner = subprocess.Popen(
                [sys.executable, __file__, "run", str(job_id), *command],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True,
            )  # fmt: skip
        job["pid"] = runner.pid
        (ROOT / f"job-{job_id}.json").write_text(json.dumps(job))
        print(f58(job_id), flush=True)
    if what[0] == "hang-after":
        (ROOT / "fault").unlink()
        hang()
    return failed


def run(job_id: str, command: list[str]) -> int:
    """Beside the job: it takes its end down."""
    child = subprocess.Popen(command)
    signal.signal(signal.SIGTERM, lambda number, frame: child.send_signal(number))
    code = child.wait()
    code = 128 - code if code < 0 else code
    cancelled = (ROOT / f"cancel-{job_id}").exists()
    lost = (ROOT / f"node-failure-{job_id}").exists()
    end = {"state": "INACTIVE", "returncode": code, "result": "COMPLETED" if code == 0 else "FAILED"}
    if cancelled:
        end |= {"result": "CANCELED", "returncode": code or 143, "exception": told("cancel", "")}
    if lost:
        end |= {"result": "FAILED", "returncode": 1, "exception": told("exec", "node failure on n4 (rank 3)")}
    end["status"] = end["result"]
    part = ROOT / f".end-{job_id}"
    part.write_text(json.dumps(end))
    part.rename(ROOT / f"end-{job_id}")
    return 0


def told(kind: str, note: str) -> dict:
    return {"occurred": True, "severity": 0, "type": kind, "note": note}


def jobs(arguments: list[str]) -> int:
    assert "--json" in arguments
    found = load()
    what = fault()
    if what[0] == "lag":
        # The list follows what was submitted a moment later.
        found = [job for job in found if time.time() - job["t_submit"] > 1.0]
    ids = [a for a in arguments if a[0] in "fƒ"]
    for one in ids:
        if one.replace("ƒ", "f") not in {f58(job["id"]).replace("ƒ", "f") for job in found}:
            return fail(f"flux-jobs: ERROR: JobID {one} unknown")
    if len(ids) == 1:
        print(json.dumps(next(job for job in found if f58(job["id"])[1:] == ids[0][1:])))
        return 0
    if "-a" not in arguments:
        found = [job for job in found if job["state"] != "INACTIVE"]
    if "-c0" not in arguments:
        found = found[:1000]
    print(json.dumps({"jobs": found}))
    return 0


def cancel(ids: list[str]) -> int:
    code = 0
    by_id = {f58(job["id"])[1:]: job for job in load()}
    for one in ids:
        job = by_id.get(one[1:])
        if job is None:
            code = fail(f"flux-cancel: ERROR: {one}: unknown job id")
        elif job["state"] == "INACTIVE":
            code = fail(f"flux-cancel: ERROR: {one}: job is inactive")
        else:
            (ROOT / f"cancel-{job['id']}").touch()
            with contextlib.suppress(ProcessLookupError):
                os.kill(job["pid"], signal.SIGTERM)
    return code


def queue(arguments: list[str]) -> int:
    """flux-queue(1): its fields in the format that is asked for. This was never recorded from a real one."""
    assert arguments[:3] == ["list", "-n", "-o"], arguments
    file = ROOT / "queues"
    rows = json.loads(file.read_text()) if file.exists() else [["pbatch", "enabled", "started", "inf"]]
    for row in rows:
        fields = dict(zip(["queue", "submission", "scheduling", "limits.timelimit"], row, strict=True))
        line = arguments[3]
        for name, value in fields.items():
            line = line.replace(f"{{{name}}}", str(value))
        print(line)
    return 0


def main() -> int:
    kind, *arguments = sys.argv[1:]
    if kind == "run":
        return run(arguments[0], arguments[1:])
    with (ROOT / "calls").open("a") as calls:
        calls.write(f"{kind} {' '.join(arguments)}\n")
    what = fault()
    if what[0] == "hang":
        hang()
    if what[0] == "no-broker":
        return fail("flux: ERROR: Unable to connect to Flux: broker socket /run/flux/local was not found")
    return {"submit": submit, "jobs": jobs, "cancel": cancel, "queue": queue}[kind](arguments)


if __name__ == "__main__":
    sys.exit(main())
