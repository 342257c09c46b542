"""Private names of Dagster, and of Parsl: each is known, with what would break without it, and used in one place."""

import ast
import importlib
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import dagster
import pytest

import oact_dagster
from oact_dagster.defs import dagster_internals

ROOT = Path(oact_dagster.__file__).parent

OF_DAGSTER = {
    "AssetCheckEvaluationTargetMaterializationData": "asset checks of run_structures would be about no materialization",
    "CODE_VERSION_TAG": "partitions made with other settings would not be outdated",
    "DATA_VERSION_TAG": "a partition would not show which input it was made from",
    "get_input_data_version_tag": "a result would be outdated as soon as its row was looked at again",
    "get_input_event_pointer_tag": "as above",
    "NULL_EVENT_POINTER": "as above",
    "UnresolvedAssetJobDefinition": "the jobs of the sensors would have no type",
    "AssetMaterializationPlannedData": "scattered structures would not show as running, and as failed",
    "DagsterEvent": "as above",
    "DagsterEventBatchMetadata": "as above, or each of them would be a write of its own",
    "generate_event_batch_id": "as above",
    "InstanceRef": "Dagster would capture the terminal's output in `oact run`",
    "build_external_execution_context_data": "a batch would have no Pipes session",
    "GRPC_INFO_TAG": "a run whose code server died before it began would hold its place for ever",
}
"""Names that are imported, and what would break without each."""

REPLACED = {
    "handle_new_event": "a batch would break off when Dagster's storage is lost",
    "get_run_by_id": "a run that lost Dagster's storage could not end",
}
"""Methods of ``DagsterInstance`` in whose place others are put."""

BY_TEXT = {
    "dagster._core.storage.noop_compute_log_manager": (
        "defs/dagster_internals.py",
        "Dagster would capture the terminal's output in `oact run`",
    ),
    # Not in dagster_internals, which takes seconds to import.
    "dagster._daemon": ("cli/web_server.py", "`oact web` would have no daemon"),
}
"""Modules that are named as text: where, and what would break without each."""

OF_PARSL = {
    "_kill_event": "a pool that was given up would go on polling its blocks",
    "_task_launch_pool": "Python would wait at its end for a pool that was given up",
    "_result_queue_thread_exit": "as above",
    "_simulated_status": "workers that cannot be started would be waited for without end",
}
"""Attributes of Parsl's objects, and what would break without each."""


def private_imports(file: Path) -> Iterator[tuple[str, str]]:
    """Module and name of what a file imports of Dagster's private modules."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            pairs = [(node.module or "", alias.name) for alias in node.names]
        elif isinstance(node, ast.Import):
            pairs = [(alias.name, "") for alias in node.names]
        else:
            continue
        yield from (
            pair
            for pair in pairs
            if re.match(r"dagster(\w*\._|_shared)|dagster\w*$", pair[0]) and _private(*pair)
        )


def _private(module: str, name: str) -> bool:
    return module.startswith("dagster_shared") or name.startswith("_") or "._" in module


def foreign_private_attributes(file: Path) -> set[str]:
    """Attributes with an underscore of objects that are not the class's own."""
    own = ("self", "cls")
    text = file.read_text(encoding="utf-8")
    return set(re.findall(r'[gs]etattr\([\w.]+, "(_\w+)"', text)) | {
        node.attr
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Attribute)
        and re.match(r"_(?!_)", node.attr)
        and not (isinstance(node.value, ast.Name) and node.value.id in own)
    }


FILES = {file.relative_to(ROOT).as_posix(): file for file in sorted(ROOT.rglob("*.py"))}
INTERNALS = "defs/dagster_internals.py"


def test_each_private_name_of_dagster_is_known() -> None:
    assert {name for _, name in private_imports(FILES[INTERNALS])} == set(OF_DAGSTER)


def test_no_other_file_imports_private_names_of_dagster() -> None:
    assert {name: found for name, file in FILES.items() if (found := set(private_imports(file)))}.keys() == {
        INTERNALS
    }


def test_private_modules_are_named_as_text_only_where_it_is_known() -> None:
    found = {
        (text, name)
        for name, file in FILES.items()
        for text in re.findall(r'"(dagster(?:\w*\._|_shared)[\w.]*)"', file.read_text(encoding="utf-8"))
    }
    assert found == {(text, file) for text, (file, _) in BY_TEXT.items()}
    assert all(find_spec(text) for text in BY_TEXT)


def test_methods_are_replaced_in_one_place() -> None:
    assert {name for name, file in FILES.items() if "method-assign" in file.read_text(encoding="utf-8")} == {
        INTERNALS
    }
    source = FILES[INTERNALS].read_text(encoding="utf-8")
    assert set(re.findall(r"instance\.(\w+) = ", source)) == set(REPLACED)
    assert all(callable(getattr(dagster.DagsterInstance, name)) for name in REPLACED)


def test_an_instance_that_captures_no_output_can_be_opened(tmp_path) -> None:
    (tmp_path / "dagster.yaml").touch()
    with dagster_internals.open_instance(tmp_path) as instance:
        assert type(instance.compute_log_manager).__name__ == "NoOpComputeLogManager"


@pytest.mark.parametrize("room", ["defs/", "launchers/parsl/"])
def test_private_attributes_of_others_are_known(room) -> None:
    found = {
        attr
        for name, file in FILES.items()
        if name.startswith(room)
        for attr in foreign_private_attributes(file)
    }
    # os._exit ends the interchange's process.
    assert found - {"_exit"} == (set() if room == "defs/" else set(OF_PARSL))


def test_parsl_has_its_private_names() -> None:
    """But for ``_task_launch_pool``, which older releases lack."""
    modules = ("dataflow.dflow", "executors.high_throughput.executor", "executors.status_handling", "utils")
    source = "".join(
        Path(importlib.import_module(f"parsl.{name}").__file__).read_text(encoding="utf-8")
        for name in modules
    )
    assert [name for name in OF_PARSL if name not in source] == []
    # The provider overrides it.
    assert callable(importlib.import_module("parsl.providers").SlurmProvider._status)
