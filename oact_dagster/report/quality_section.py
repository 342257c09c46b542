"""What the checks on the results' quality found."""

from oact_dagster.report.html import escaped, structure_button, table
from oact_dagster.report.quality_input import QualityFindings, RuleFindings
from oact_dagster.report.tables import text_of
from oact_dagster.text import pluralise

_WORST_SHOWN = 10


def quality_html(quality: QualityFindings) -> str:
    """A row for each rule, and below it the worst structures of each that failed."""
    rows = [
        (rule.name, rule.severity, rule.checked, rule.failed, rule.description)
        for rule in sorted(quality.rules, key=lambda rule: -rule.failed)
    ]
    overview = table(("rule", "severity", "checked", "failed", "what it asks"), rows, name="Quality rules")
    worst = "\n".join(_worst(rule) for rule in quality.rules if rule.worst)
    failed = len(quality.failed)
    told = f"{pluralise(failed, 'structure', 'breaks', 'break', form=',')} a rule or more."
    return f"<p>{escaped(told)}</p>\n{overview}\n{worst}"


def _worst(rule: RuleFindings) -> str:
    shown = rule.worst[:_WORST_SHOWN]
    rows = [(structure_button(index), text_of(text)) for index, text in shown]
    of = f"all {len(shown)}" if rule.failed <= len(shown) else f"the worst {len(shown)} of {rule.failed:,}"
    body = table(("structure", "what is wrong"), rows, name=f"Worst of {rule.name}")
    return f"<details><summary>{escaped(f'{rule.name}: {of}')}</summary>{body}</details>"
