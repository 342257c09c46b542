"""The longest tests of the ledger run with ``-m chaos`` only."""


def pytest_configure(config):
    config.addinivalue_line("markers", "chaos: long, with killed processes; run with -m chaos")


def pytest_collection_modifyitems(config, items):
    if "chaos" in config.option.markexpr:
        return
    long = [item for item in items if item.get_closest_marker("chaos")]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]
