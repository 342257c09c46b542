"""How many there are of something, in words."""


def pluralise(count: int, noun: str, one: str = "", many: str = "", *, form: str = "d") -> str:
    """``1 row``, and ``2 rows``; with what follows of it, ``1 row is new``, and ``2 rows are new``.

    Args:
        count: how many there are.
        noun: what they are called where there is one; the others have an ``s`` behind it.
        one: what follows where there is one.
        many: what follows otherwise.
        form: of the number; with ``,`` thousands stand apart.
    """
    told, then = (f"{count:{form}} {noun}", one) if count == 1 else (f"{count:{form}} {noun}s", many)
    return f"{told} {then}" if then else told
