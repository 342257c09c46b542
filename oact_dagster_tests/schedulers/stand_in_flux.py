"""A stand-in for the command ``flux``, which answers as Flux 0.88 was seen to, with its faults.

It keeps its jobs in one folder (``STAND_IN_FLUX``) and runs each as a process. It is no kinder than the real one: it
refuses ``--cc=0-0`` for a bulk of one; bad ids are errors, and only stderr tells of one unknown id among several; JSON
of one id is a bare object; ids are not ASCII unless asked for; a list stops at 1,000 jobs unless asked for more; the
history stays; a constraint on a host that is not there is refused, one on a property that no node has is taken, and
its job fails; in a bulk it reads braces in options; a job in a folder that is not there completes.

``instance.json`` there says what nodes and queues there are, ``history.json`` holds jobs that ended before, and a file
``fault`` names what goes wrong: hang, hang-after, die-after N, no-broker, limit N, lag, dead-node NAME.
"""

import argparse
import contextlib
import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(os.environ["STAND_IN_FLUX"])
DIGITS = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
INSTANCE: dict[str, Any] = {
    "nodes": {f"fake{number}": {"cores": 16, "properties": []} for number in range(4)},
    "queues": [{"name": "pbatch"}],
    "default": "pbatch",
}
QUEUE: dict[str, Any] = {
    "submission": "enabled",
    "scheduling": "started",
    "timelimit": "inf",
    "max_ncores": "inf",
    "max_nnodes": "inf",
    "nodes": None,
}


class UsageError(Exception):
    """The command ends with this text on stderr."""


def f58(number: int) -> str:
    text = ""
    while True:
        number, digit = divmod(number, 58)
        text = DIGITS[digit] + text
        if not number:
            return ("f" if os.environ.get("FLUX_F58_FORCE_ASCII") else "ƒ") + text


def instance() -> dict[str, Any]:
    file = ROOT / "instance.json"
    return {**INSTANCE, **(json.loads(file.read_text()) if file.exists() else {})}


def queue_named(name: str) -> dict[str, Any] | None:
    found = [one for one in instance()["queues"] if one["name"] == name]
    return {**QUEUE, **found[0]} if found else None


def fault() -> list[str]:
    file = ROOT / "fault"
    return file.read_text().split() if file.exists() else [""]


def hang() -> None:
    signal.pause()


def fail(text: str) -> int:
    print(text, file=sys.stderr)
    return 1


def load(*, ended: bool = True) -> list[dict[str, Any]]:
    """The jobs of this instance, those of before first; without the ended ones where they are not asked for."""
    history = ROOT / "history.json"
    found = json.loads(history.read_text()) if ended and history.exists() else []
    for file in sorted(ROOT.glob("job-*.json")):
        job = json.loads(file.read_text())
        end = ROOT / f"end-{job['id']}"
        if job["state"] != "INACTIVE" and end.exists():
            job |= json.loads(end.read_text())
        if ended or job["state"] != "INACTIVE":
            found.append(job)
    return found


# --- constraints: RFC 35, as far as a campaign uses it ---


def parse(text: str) -> dict[str, Any]:
    words = re.findall(r"[()|&,]|[^\s()|&,]+", text)
    tree, rest = parse_or(words, text)
    if rest:
        raise UsageError(f"flux-submit: ERROR: --requires={text!r}: Unexpected token {rest[0]!r}")
    return tree


def parse_or(words: list[str], text: str) -> tuple[dict[str, Any], list[str]]:
    terms = []
    while True:
        term, words = parse_and(words, text)
        terms.append(term)
        if not words or words[0] != "|":
            return (terms[0] if len(terms) == 1 else {"or": terms}), words
        words = words[1:]


def parse_and(words: list[str], text: str) -> tuple[dict[str, Any], list[str]]:
    terms = []
    while words and words[0] not in ("|", ")"):
        word, words = words[0], words[1:]
        if word in (",", "&"):
            continue
        if word == "(":
            term, words = parse_or(words, text)
            if not words or words[0] != ")":
                raise UsageError(
                    f"flux-submit: ERROR: --requires={text!r}: Unclosed parenthesis in position 0"
                )
            words = words[1:]
        elif word.startswith(("host:", "-host:")):
            term = {"hostlist": [word.split(":", 1)[1]]}
            term = {"not": [term]} if word.startswith("-") else term
        else:
            term = {"properties": [word]}
        terms.append(term)
    return (terms[0] if len(terms) == 1 else {"and": terms}), words


def meets(name: str, node: dict[str, Any], tree: dict[str, Any]) -> bool:
    ((operator, values),) = tree.items() if tree else (("and", []),)
    if operator in ("and", "or"):
        return (all if operator == "and" else any)(meets(name, node, one) for one in values)
    if operator == "not":
        return not all(meets(name, node, one) for one in values)
    return name in values if operator == "hostlist" else set(values) <= set(node["properties"])


def hosts_in(tree: dict[str, Any]) -> list[str]:
    return leaves(tree, "hostlist")


def properties_in(tree: dict[str, Any]) -> list[str]:
    return leaves(tree, "properties")


def leaves(tree: dict[str, Any], kind: str) -> list[str]:
    ((operator, values),) = tree.items() if tree else (("and", []),)
    if operator in ("hostlist", "properties"):
        return list(values) if operator == kind else []
    return [value for one in values for value in leaves(one, kind)]


# --- commands ---


def submit(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser("flux submit", "flux submit [OPTIONS...] COMMAND [ARGS...]")
    for name in ("--cc", "--job-name", "--output", "--queue", "--bank", "--requires", "--setattr"):
        parser.add_argument(name)
    for name in ("--dry-run", "--exclusive"):
        parser.add_argument(name, action="store_true")
    parser.add_argument("-N", type=int)
    parser.add_argument("-n", type=int)
    parser.add_argument("-c", type=int, default=1)
    parser.add_argument("-t")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    given = parser.parse_args(arguments)
    if given.exclusive and not given.N:
        raise UsageError("flux-submit: ERROR: exclusive can only be set with a node count")
    tree = parse(given.requires) if given.requires else {}
    if given.dry_run:
        system = {"duration": 60.0, "environment": dict(os.environ)}
        system |= {"queue": given.queue} if given.queue else {}
        print(json.dumps({"attributes": {"system": {**system, **({"constraints": tree} if tree else {})}}}))
        return 0
    found = re.fullmatch(r"(\d+)(?:-(\d+))?", given.cc)
    assert found, given.cc
    first, last = int(found[1]), int(found[2] or found[1])
    if found[2] is not None and last <= first:
        raise UsageError(f"flux-submit: ERROR: IDset(): Invalid argument: {given.cc}")
    for value in (given.queue, given.bank, given.requires, given.setattr, *given.command):
        filled(value or "", first)
    if refusal := refused(given, tree):
        return fail("\n".join(f"cc={number}: {refusal}" for number in range(first, last + 1)))
    what = fault()
    failed = 0
    for number in range(first, last + 1):
        if what[0] == "limit" and len(load(ended=False)) >= int(what[1]):
            print(f"cc={number}: [Errno 1] user has max active jobs", file=sys.stderr)
            failed = 1
            continue
        if what[0] == "die-after" and number - first >= int(what[1]):
            (ROOT / "fault").unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        start(given, tree, number, what)
    if what[0] == "hang-after":
        (ROOT / "fault").unlink()
        hang()
    return failed


def filled(value: str, number: int) -> str:
    """What stands between braces is replaced; what stands between two of them stays."""
    kept = value.replace("{{", "\0").replace("}}", "\1")
    try:
        return kept.format(cc=number).replace("\0", "{{").replace("\1", "}}")
    except KeyError as error:
        raise UsageError(f"flux: ERROR: Replacement key {error} not found in '{value}'") from None


def refused(given: argparse.Namespace, tree: dict[str, Any]) -> str:
    """What the instance says of a job that it does not take; empty where it takes it."""
    here = instance()
    for name in properties_in(tree):
        if set(name) & set("!&'\"^`|()"):
            return f"[Errno 1] invalid character in property '{name}'"
    for host in hosts_in(tree):
        if host not in here["nodes"]:
            return (
                f"[Errno 1] invalid jobspec: host constraint contains invalid hosts: host {host!r} not found"
            )
    name = given.queue or here["default"]
    queue = queue_named(name)
    if queue is None:
        return f"[Errno 1] Invalid queue '{name}' specified"
    if queue["submission"] == "disabled":
        return f"[Errno 22] job submission to {name} is disabled: disabled by administrator"
    if given.c > float(queue["max_ncores"]):
        over = f"ncores ({given.c}) exceeds policy limit of {queue['max_ncores']}"
        return f"[Errno 22] requested {over} for queue {name}"
    if int(given.t.removesuffix("m")) * 60 > float(queue["timelimit"]):
        over = f"duration ({given.t}) exceeds policy limit of {queue['timelimit']}s"
        return f"[Errno 22] requested {over} for queue {name}"
    return ""


def start(given: argparse.Namespace, tree: dict[str, Any], number: int, what: list[str]) -> None:
    here = instance()
    queue = queue_named(given.queue or here["default"])
    assert queue is not None
    members = queue["nodes"]
    eligible = [
        name
        for name, node in here["nodes"].items()
        if (members is None or name in members) and meets(name, node, tree) and node["cores"] >= given.c
    ]
    with (ROOT / "count").open("a+") as count:
        fcntl.flock(count, fcntl.LOCK_EX)
        count.seek(0)
        taken = len(count.read())
        count.write("x")
    job_id = 357321146368 + 16777216 * taken
    job: dict[str, Any] = {
        "id": job_id, "jobid": f58(job_id), "name": filled(given.job_name, number), "state": "RUN",
        "status": "RUN", "result": "", "returncode": "",
        "exception": {"occurred": False}, "t_submit": time.time(), "urgency": 16,
    }  # fmt: skip
    file = ROOT / f"job-{job_id}.json"
    if not eligible:
        note = f"unsatisfiable request: need 1 slot(s) of {given.c} core(s), only 0 such slot(s) available"
        job |= {"state": "INACTIVE", "result": "FAILED", "status": "FAILED", "returncode": 1}
        job |= {"t_inactive": time.time(), "exception": told("alloc", note)}
    elif what[0] == "dead-node" and what[1] in eligible:
        # For a moment pending jobs are handed to a node that has died; they end without having begun.
        job |= {"state": "INACTIVE", "result": "FAILED", "status": "FAILED", "returncode": 1}
        job |= {"t_inactive": time.time(), "exception": told("exec", f"node failure on {what[1]} (rank 3)")}
    else:
        job["nodelist"] = eligible[taken % len(eligible)]
        environment = {**os.environ, "FLUX_JOB_CC": str(number), "FLUX_JOB_ID": f58(job_id)}
        with Path(filled(given.output, number)).open("ab") as log:
            runner = subprocess.Popen(
                [sys.executable, __file__, "run", str(job_id), job["nodelist"], *given.command],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True,
            )  # fmt: skip
        job["pid"] = runner.pid
    file.write_text(json.dumps(job))
    print(f58(job_id), flush=True)


def run(job_id: str, node: str, command: list[str]) -> int:
    """Beside the job: it takes its end down."""
    child = subprocess.Popen(command)
    signal.signal(signal.SIGTERM, lambda number, frame: child.send_signal(number))
    code = child.wait()
    code = 128 - code if code < 0 else code
    cancelled = (ROOT / f"cancel-{job_id}").exists()
    lost = (ROOT / f"node-failure-{job_id}").exists()
    end: dict[str, Any] = {
        "state": "INACTIVE",
        "returncode": code,
        "result": "COMPLETED" if code == 0 else "FAILED",
    }
    if cancelled:
        end |= {"result": "CANCELED", "returncode": code or 143, "exception": told("cancel", "")}
    if lost:
        note = f"node failure on {node} (rank 3)"
        end |= {"result": "FAILED", "returncode": 1, "exception": told("exec", note)}
    end |= {"status": end["result"], "t_inactive": time.time()}
    part = ROOT / f".end-{job_id}"
    part.write_text(json.dumps(end))
    part.rename(ROOT / f"end-{job_id}")
    return 0


def told(kind: str, note: str) -> dict[str, Any]:
    return {"occurred": True, "severity": 0, "type": kind, "note": note}


def jobs(arguments: list[str]) -> int:
    assert "--json" in arguments
    ids = [a for a in arguments if a[0] in "fƒ"]
    options = dict(a.split("=", 1) for a in arguments if a.startswith("--") and "=" in a)
    what = fault()

    def listed(job: dict[str, Any]) -> bool:
        # The list follows what was submitted a moment later.
        return what[0] != "lag" or time.time() - job["t_submit"] > 1.0

    if ids:
        for one in ids:
            if not re.fullmatch(f"[fƒ][{DIGITS}]+", one):
                print(f"flux-jobs: error: argument JOBID: invalid JobID value: {one!r}", file=sys.stderr)
                return 2
        known = {f58(job["id"])[1:]: job for job in load() if listed(job)}
        for one in ids:
            if one[1:] not in known:
                print(f"JobID {one} unknown", file=sys.stderr)
        found = [known[one[1:]] for one in ids if one[1:] in known]
        if not found:
            return 1
        print(json.dumps(found[0] if len(ids) == 1 else {"jobs": found}))
        return 0
    since = float(options.get("--since", "0" if "-a" in arguments else "inf"))
    found = [
        job
        for job in load(ended="-a" in arguments or "--since" in options)
        if listed(job) and (job["state"] != "INACTIVE" or job.get("t_inactive", 0.0) > since)
    ]
    if "-c0" not in arguments:
        found = found[:1000]
    print(json.dumps({"jobs": [job for job in found if options.get("--name", job["name"]) == job["name"]]}))
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
    assert arguments[:3] == ["list", "-n", "-o"], arguments
    here = instance()
    for one in here["queues"]:
        row = {**QUEUE, **one}
        fields = {
            "queue": row["name"],
            "queuem": row["name"] + ("*" if row["name"] and row["name"] == here["default"] else ""),
            "submission": row["submission"],
            "scheduling": row["scheduling"],
            "limits.timelimit": row["timelimit"],
            "limits.max.ncores": row["max_ncores"],
            "limits.max.nnodes": row["max_nnodes"],
        }
        # Flux refuses a field that it does not have.
        parts = re.split(r"\{([\w.]+)\}", arguments[3])
        parts[1::2] = [str(fields[name]) for name in parts[1::2]]
        print("".join(parts))
    return 0


def resource(arguments: list[str]) -> int:
    here = instance()
    names = list(here["nodes"])
    if arguments == ["R"]:
        holders: dict[str, list[str]] = {}
        for rank, node in enumerate(here["nodes"].values()):
            for name in node["properties"]:
                holders.setdefault(name, []).append(str(rank))
        ranks = [
            {"rank": str(rank), "children": {"core": f"0-{node['cores'] - 1}" if node["cores"] > 1 else "0"}}
            for rank, node in enumerate(here["nodes"].values())
        ]
        properties = {name: ",".join(held_by) for name, held_by in holders.items()}
        execution = {"R_lite": ranks, "nodelist": names, "properties": properties}
        print(json.dumps({"version": 1, "execution": execution}))
        return 0
    assert arguments == ["list", "-s", "all", "-n", "-o", "{queue}|{nodelist}"], arguments
    for one in here["queues"]:
        members = {**QUEUE, **one}["nodes"]
        print(f"{one['name']}|{','.join(names if members is None else members)}")
    return 0


def main() -> int:
    kind, *arguments = sys.argv[1:]
    if kind == "run":
        return run(arguments[0], arguments[1], arguments[2:])
    with (ROOT / "calls").open("a") as calls:
        calls.write(f"{kind} {' '.join(arguments)}\n")
    what = fault()
    if what[0] == "hang":
        hang()
    dry = kind == "submit" and "--dry-run" in arguments
    if what[0] == "no-broker" and not dry:
        return fail("flux: ERROR: Unable to connect to Flux: broker socket /run/flux/local was not found")
    commands = {"submit": submit, "jobs": jobs, "cancel": cancel, "queue": queue, "resource": resource}
    try:
        return commands[kind](arguments)
    except UsageError as error:
        return fail(str(error))


if __name__ == "__main__":
    sys.exit(main())
