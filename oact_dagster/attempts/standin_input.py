"""What the stand-in engine would refuse of an input: found before anything is started."""

from oact_dagster.errors import InputRefused
from oact_dagster.standin.input_reader import InputError, read_input
from oact_dagster.standin.surrogate import OxidationStateError, surrogate_of


def check_standin_input(text: str) -> None:
    """Refuse an input that the stand-in engine would end with an error.

    Args:
        text: of the whole input, with its comments: one of them gives the metal's oxidation state.

    Raises:
        InputRefused: in the engine's own words; of an oxidation state that is missing, where the input gets it from.
    """
    try:
        surrogate_of(read_input(text))
    except OxidationStateError as error:
        raise InputRefused(
            f"{', '.join(error.actinides)}: the stand-in engine needs the oxidation state of an actinide: name a"
            " column metal_ox or oxidation_state under annotate, with a whole number in this row",
            kind="actinide without an oxidation state, which the stand-in engine needs",
        ) from None
    except InputError as error:
        raise InputRefused(
            " ".join(str(error).split()), kind="what the stand-in engine cannot compute"
        ) from None
