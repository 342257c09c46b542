"""What may be secret in ``campaign.yaml`` is not in the report."""

import pytest

from oact_dagster.report.masking import MASK, without_secrets

SETTINGS = """\
# a campaign
name: demo            # stays
launcher:
  kind: slurm
  environment:
    PASSWORD: sesame1
    PLAIN: 'sesame2'
    LONG: |
      sesame3
      sesame4
  queue: pbatch
notify:
  command: [curl, -H, "Authorization: Bearer sesame5", "https://me:sesame6@example.org/x"]
  webhook: https://example.org/sesame7   # where it goes
"""


def test_values_are_hidden_and_all_else_stays_as_it_is() -> None:
    assert (
        without_secrets(SETTINGS)
        == f"""\
# a campaign
name: demo            # stays
launcher:
  kind: slurm
  environment:
    PASSWORD: {MASK}
    PLAIN: {MASK}
    LONG: {MASK}
  queue: pbatch
notify:
  command: [curl, -H, "Authorization: {MASK}", "https://me:{MASK}@example.org/x"]
  webhook: {MASK}   # where it goes
"""
    )


@pytest.mark.parametrize(
    "text",
    [
        "launcher: {kind: local, environment: {KEY: sesame, OTHER: sesame}}",
        'launcher: {"environment": {"KEY": "sesame"}}',
        "launcher:\n  environment: &shared\n    KEY: sesame\nother: *shared\n",
        "shared: &shared {KEY: sesame}\nlauncher: {environment: *shared}\n",
        "base: &base {environment: {KEY: sesame}}\nlauncher:\n  <<: *base\n",
        "launcher:\n  environment: !!str sesame\n",
        "launcher:\n  environment:\n    KEY: >-\n      sesame\n      sesame\n",
        "launcher:\n  environment:\n    KEY: &name sesame\n",
        "notify: {webhook: 'https://example.org/sesame?a=1'}",
        "# notify: {webhook: https://example.org/sesame}",
        "notify:\n  # webhook: https://example.org/sesame\n",
        "launcher:\n  setup_lines: [export MY_TOKEN=sesame]",
        "launcher:\n  worker_init:\n  - export API_KEY='sesame'\n",
        "launcher:\n  extra_directives: ['--secret=sesame']",
        "notify: {command: [curl, 'https://user:sesame@example.org']}",
    ],
)
def test_wherever_it_stands(text: str) -> None:
    found = without_secrets(text)
    assert "sesame" not in found and MASK in found


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name: demo\n",
        "launcher: {environment: {}}\n",
        "notify: {webhook: null}\n",
        "orca: {extra_lines: ['%scf MaxIter 500 end']}\n",
        "csv: /data/tokens/complexes.csv\nname: passwords\n",
        "\ufeffname: demo\r\nlauncher:\r\n  kind: local\r\n",
    ],
)
def test_what_holds_no_secret_stays(text: str) -> None:
    assert without_secrets(text) == text


def test_what_holds_itself_ends() -> None:
    assert without_secrets("a: &a [*a, {environment: *a}]\n").startswith("a: &a")


def test_what_is_no_yaml_is_not_shown() -> None:
    with pytest.raises(ValueError, match="not YAML"):
        without_secrets("launcher: {environment: {KEY: sesame}")
