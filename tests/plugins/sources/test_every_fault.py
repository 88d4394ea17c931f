"""Every named fault of the stand-in, met by every source of images: nothing wrong is ever kept."""

import pytest

from rvtool.errors import DataError
from rvtool.kinds import Fetches, Found, Further, Target
from rvtool.plugins import components
from rvtool.testing import check_source
from rvtool.testing.sky import Sky
from rvtool.testing.sky.answers import respond
from rvtool.testing.sky.asked import Asked
from rvtool.testing.sky.faults import PURE, faulty
from rvtool.verbs.collect.validate import Expected, check

ELSEWHERE = ("folder", "mirabest", "rgz", "cifar10", "radiomapseer")  # they ask no service that the stand-in knows
SERVED = [name for name, c in components("source").items() if hasattr(c.load(), "read") and name not in ELSEWHERE]
THING = next(thing for thing in Sky().catalogue("FRII", 20) if 150 < thing.ra_deg < 220)
PLACE = Target("probe", THING.ra_deg, THING.dec_deg)


@pytest.mark.parametrize("name", SERVED)
def test_no_fault_of_a_reply_is_taken_for_good(name):
    check_source(components("source")[name], sky=Sky(), probe=PLACE)


@pytest.mark.parametrize("fault", PURE)
@pytest.mark.parametrize("name", SERVED)
def test_no_fault_ends_as_an_image_that_is_kept(name, fault):
    component = components("source")[name]
    source = component.load()(component.configure())
    assert isinstance(source, Fetches)
    info, request, sky = source.info, source.request(PLACE), Sky()
    expected = Expected(PLACE.ra_deg, PLACE.dec_deg, info.field_arcmin, info.pixel_arcsec, info.unit)
    while True:
        good = respond(Asked.of(request, "http://127.0.0.1"), sky)
        answer = source.read(PLACE, good.reply(request))
        if not isinstance(answer, Further):
            break
        request = answer.request
    assert isinstance(answer, Found)
    check(answer.body, answer.suffix, expected)
    spoilt = faulty(fault, good)
    found = source.read(PLACE, spoilt.reply(request))
    if isinstance(found, Found) and spoilt != good:
        with pytest.raises(DataError):
            check(found.body, found.suffix, expected)
