"""RFC 8785 in Python's standard library: reading that refuses every other spelling."""
import json
from decimal import Decimal
from functools import lru_cache


def number(value):
    """ECMAScript's Number::toString."""
    if isinstance(value, int) and abs(value) <= 2**53 - 1:
        return str(value)
    value = float(value)
    if value == 0:
        return "0"
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    text, size = "".join(map(str, digits)), len(digits)
    point = size + exponent
    if size <= point <= 21:
        body = text + "0" * (point - size)
    elif 0 < point <= 21:
        body = f"{text[:point]}.{text[point:]}"
    elif -6 < point <= 0:
        body = f"0.{'0' * -point}{text}"
    else:
        body = f"{text[0]}{'.' if size > 1 else ''}{text[1:]}e{'+' if point > 0 else '-'}{abs(point - 1)}"
    return f"{'-' if sign else ''}{body}"


def jcs(value):
    if value is None or value is True or value is False:
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list):
        return f"[{','.join(map(jcs, value))}]"
    if isinstance(value, dict):
        names = sorted(value, key=lambda name: name.encode("utf-16-be", "surrogatepass"))
        return "{" + ",".join(f"{jcs(name)}:{jcs(value[name])}" for name in names) + "}"
    return number(value)


def unique(pairs):
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a key twice")
    return dict(pairs)


@lru_cache(maxsize=50_000)
def parse(data):
    """The value in canonical bytes, which nobody may change: many bundles have the same files. Raises ValueError for anything else."""
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=unique)
        if jcs(value).encode("utf-8") != data:
            raise ValueError("not canonical")
    except RecursionError as problem:
        raise ValueError("nested too deep") from problem
    return value
