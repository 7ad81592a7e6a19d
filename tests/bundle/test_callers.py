"""The object on whose behalf an expression runs is found, and nothing is kept alive by the search."""

from __future__ import annotations

import gc
import weakref

from medssm_monai.bundle.callers import calling


class Caller:
    def ask(self, ask):
        return ask()


def test_the_nearest_object_of_the_class_is_found():
    one, two = Caller(), Caller()
    assert one.ask(lambda: calling(Caller)) is one
    assert one.ask(lambda: two.ask(lambda: calling(Caller))) is two
    assert calling(Caller) is None


def test_locals_of_those_who_call_are_not_kept():
    kept = Caller()
    gone = weakref.ref(kept)
    Caller().ask(lambda: calling(int))
    del kept
    gc.collect()
    assert gone() is None
