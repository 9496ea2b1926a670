"""All the ways in which the engine is made wrong, to prove that the tests would notice."""

from __future__ import annotations

from .in_the_books import IN_THE_BOOKS
from .in_the_engine import IN_THE_ENGINE
from .on_the_road import ON_THE_ROAD

MUTATIONS = (*ON_THE_ROAD, *IN_THE_BOOKS, *IN_THE_ENGINE)
