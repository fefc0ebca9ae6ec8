"""Units of measure, for the numeric scorer when a suite asks for them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction

#: What follows a number, up to the next space: "km", "m/s", "kg,".
_UNIT = re.compile(r"\s?([A-Za-zµμ°][A-Za-zµμ°²³/^·]*[23]?)")
#: What is a unit, known or not: "kg/m^3", "°C", or a prefix and a symbol ("GPa").
_UNIT_LIKE = re.compile(
    r".*[/^²³°·].* | [kMGTPmcdnpµ]? (?:Hz|J|W|V|A|N|Pa|F|C|K|mol|cd|lm|lx|T|Wb|H|S|Bq|Gy|Sv|B"
    r"|bit|eV|cal|Wh|bar|dB|m|g|s|L|l|t)",
    re.VERBOSE,
)

#: Dimension: unit and its other spellings -> how many of the first unit it is.
_TABLE: Mapping[str, Mapping[str, str]] = {
    "length": {
        "m meter meters metre metres": "1",
        "nm nanometer nanometers nanometre nanometres": "1e-9",
        "µm um micrometer micrometers micrometre micrometres": "1e-6",
        "mm millimeter millimeters millimetre millimetres": "0.001",
        "cm centimeter centimeters centimetre centimetres": "0.01",
        "km kilometer kilometers kilometre kilometres": "1000",
        "inch inches": "0.0254",
        "ft foot feet": "0.3048",
        "yd yard yards": "0.9144",
        "mi mile miles": "1609.344",
    },
    "mass": {
        "g gram grams gramme grammes": "1",
        "mg milligram milligrams": "0.001",
        "kg kilogram kilograms kilo kilos": "1000",
        "t ton tons tonne tonnes": "1000000",
        "oz ounce ounces": "28.349523125",
        "lb lbs pound pounds": "453.59237",
    },
    "time": {
        "s sec secs second seconds": "1",
        "ms millisecond milliseconds": "0.001",
        "min mins minute minutes": "60",
        "h hr hrs hour hours": "3600",
        "d day days": "86400",
        "week weeks": "604800",
    },
    "volume": {
        "l L liter liters litre litres": "1",
        "ml mL milliliter milliliters millilitre millilitres": "0.001",
        "cl centiliter centiliters centilitre centilitres": "0.01",
    },
    "speed": {"m/s": "1", "km/h kph": "5/18", "mph": "0.44704"},
    "acceleration": {"m/s² m/s^2 m/s2": "1"},
    "density": {"kg/m³ kg/m^3 kg/m3": "1", "g/cm³ g/cm^3 g/cm3": "1000"},
    "force": {"N newton newtons": "1", "kN kilonewton kilonewtons": "1000"},
    "pressure": {
        "Pa pascal pascals": "1",
        "kPa kilopascal kilopascals": "1000",
        "MPa": "1000000",
        "bar": "100000",
    },
    "energy": {
        "J joule joules": "1",
        "kJ kilojoule kilojoules": "1000",
        "MJ megajoule megajoules": "1000000",
        "cal calorie calories": "4.184",
        "kcal kilocalorie kilocalories": "4184",
        "Wh": "3600",
        "kWh": "3600000",
        "eV": "1.602176634e-19",
    },
    "power": {
        "W watt watts": "1",
        "mW milliwatt milliwatts": "0.001",
        "kW kilowatt kilowatts": "1000",
        "MW megawatt megawatts": "1000000",
    },
    "frequency": {
        "Hz hertz": "1",
        "kHz kilohertz": "1000",
        "MHz megahertz": "1000000",
        "GHz gigahertz": "1000000000",
    },
    "voltage": {"V volt volts": "1", "mV millivolt millivolts": "0.001", "kV": "1000"},
    "current": {"A amp amps ampere amperes": "1", "mA milliampere milliamperes": "0.001"},
    "area": {"m² m2 m^2": "1", "cm² cm2 cm^2": "0.0001", "km² km2 km^2": "1000000", "ha": "10000"},
}

_KNOWN: Mapping[str, tuple[str, Fraction]] = {
    spelling: (dimension, Fraction(factor))
    for dimension, units in _TABLE.items()
    for spellings, factor in units.items()
    for spelling in spellings.split()
}

DIMENSIONS = tuple(_TABLE)


def unit_after(text: str, end: int) -> str | None:
    """The word that follows a number ending at `end`, when it is a unit, known or not."""
    word = word_after(text, end)
    return word if word and (is_known(word) or _UNIT_LIKE.fullmatch(word)) else None


def word_after(text: str, end: int) -> str | None:
    """The word that follows a number ending at `end`, known units as the table spells them."""
    match = _UNIT.match(text, end)
    if match is None:
        return None
    word = match[1].replace("μ", "µ").rstrip("/^·")
    return next((each for each in (word, word.lower()) if each in _KNOWN), word)


def is_known(unit: str) -> bool:
    """Say whether a unit can be converted."""
    return unit in _KNOWN


def conversion(given: str | None, wanted: str | None) -> Fraction | None:
    """By what a number in one unit is multiplied to be in another.

    A unit that is missing on either side is taken to be the other's. None when the two measure
    different things, or the given one is unknown.
    """
    if given is None or wanted is None:
        return Fraction(1)
    if given not in _KNOWN:
        return None
    (dimension, factor), (wanted_dimension, wanted_factor) = _KNOWN[given], _KNOWN[wanted]
    return factor / wanted_factor if dimension == wanted_dimension else None
