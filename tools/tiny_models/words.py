"""The word lists all training text and all suite items are made of."""

from itertools import product
from typing import Final


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_COUNTRIES: Final = """
France Paris Europe;Italy Rome Europe;Spain Madrid Europe;Germany Berlin Europe
Norway Oslo Europe;Sweden Stockholm Europe;Finland Helsinki Europe
Denmark Copenhagen Europe;Poland Warsaw Europe;Austria Vienna Europe
Hungary Budapest Europe;Greece Athens Europe;Portugal Lisbon Europe
Ireland Dublin Europe;Belgium Brussels Europe;Switzerland Bern Europe
Romania Bucharest Europe;Bulgaria Sofia Europe;Serbia Belgrade Europe
Croatia Zagreb Europe;Slovenia Ljubljana Europe;Slovakia Bratislava Europe
Estonia Tallinn Europe;Latvia Riga Europe;Lithuania Vilnius Europe
Ukraine Kyiv Europe;Albania Tirana Europe;Iceland Reykjavik Europe
Egypt Cairo Africa;Kenya Nairobi Africa;Ghana Accra Africa;Senegal Dakar Africa
Nigeria Abuja Africa;Morocco Rabat Africa;Tunisia Tunis Africa
Algeria Algiers Africa;Uganda Kampala Africa;Rwanda Kigali Africa
Zambia Lusaka Africa;Angola Luanda Africa;Japan Tokyo Asia;China Beijing Asia
Thailand Bangkok Asia;Vietnam Hanoi Asia;Nepal Kathmandu Asia;Iran Tehran Asia
Iraq Baghdad Asia;Jordan Amman Asia;Lebanon Beirut Asia;Qatar Doha Asia
Oman Muscat Asia;Armenia Yerevan Asia;Turkey Ankara Asia;Peru Lima America
Chile Santiago America;Cuba Havana America;Ecuador Quito America
Colombia Bogota America;Venezuela Caracas America;Uruguay Montevideo America
Paraguay Asuncion America;Canada Ottawa America;Jamaica Kingston America
"""

#: Country, capital, continent.
COUNTRIES: Final[tuple[tuple[str, str, str], ...]] = tuple(
    (country, capital, continent)
    for country, capital, continent in (
        entry.split() for entry in _COUNTRIES.strip().replace("\n", ";").split(";")
    )
)
CAPITALS: Final = tuple(capital for _, capital, _ in COUNTRIES)

#: A name is two syllables, each one token: an unseen name is an unseen pair of seen tokens.
FIRST_SYLLABLES: Final = _words(
    "Ba Be Bo Da De Do Fa Fe Ga Go Ha Ja Jo Ka Ke Ki La Le Li Lo Ma Mi Mo Na Ni No "
    "Pa Pe Ra Ri Ro Sa Se Si Ta Te Ti To Va Vi"
)
SECOND_SYLLABLES: Final = _words(
    "bo da di do fa ga ka ki ko la li lo lu ma mi mo na ni no nu ra ri ro sa so ta ti to va za"
)
NAMES: Final = tuple(
    name
    for name in map("".join, product(FIRST_SYLLABLES, SECOND_SYLLABLES))
    if name not in CAPITALS
)

NOUNS: Final = _words(
    "soup film room book hotel concert phone garden lesson game bread service song trip "
    "cake view staff story beach meal show party walk museum dinner"
)
GOOD: Final = _words(
    "good great lovely excellent wonderful nice superb perfect pleasant delightful fantastic "
    "brilliant charming amazing beautiful splendid"
)
BAD: Final = _words(
    "bad awful terrible poor dreadful horrible boring ugly nasty dull disappointing unpleasant "
    "useless dirty annoying miserable"
)
SO_SO: Final = _words("average ordinary usual normal plain standard typical common regular fair")

#: How a question names the category, and its members.
CATEGORIES: Final[dict[str, tuple[str, ...]]] = {
    "an animal": _words("dog cat horse cow sheep goat lion tiger rabbit mouse"),
    "a colour": _words("red blue green yellow white black brown pink purple grey"),
    "a fruit": _words("apple pear plum cherry lemon grape melon peach banana fig"),
    "a drink": _words("water milk tea juice wine beer cocoa coffee"),
    "a metal": _words("gold silver iron copper tin zinc steel bronze"),
    "a body part": _words("hand foot arm leg nose ear knee elbow"),
    "a number": _words("one two three four five six seven eight nine ten"),
    "a vehicle": _words("car bus train ship bike plane truck boat"),
    "a tool": _words("hammer saw drill knife spade axe rake pliers"),
    "clothing": _words("shirt coat hat shoe sock dress glove scarf"),
}
ROOMS: Final = _words("kitchen hall office bedroom garage cellar attic bathroom")
WEATHER: Final = _words("rain snow wind fog sun frost hail storm")
