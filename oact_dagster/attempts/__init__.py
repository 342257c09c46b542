"""A batch of attempts: plan, claim, write, submit, monitor, judge, record, recover."""
