"""The ATNF pulsar catalogue: every pulsar of the package, with its position, period and flux density."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from collections.abc import Callable
from math import hypot
from pathlib import Path

import astropy.units as u
import pytest
from astropy.coordinates import BarycentricMeanEcliptic, SkyCoord
from hypothesis import given
from hypothesis import strategies as st

from rvtool.kinds import Fatal, Listed, Reply, Request, Retry, Target
from rvtool.testing import check_source
from rvtool.testing.sky import Asked, Sky, answer
from rvtool.testing.sky.answers import respond
from rvtool.testing.sky.faults import faulty
from rvtool_plugins.sources.atnf import AtnfConfig, rvtool_sources
from rvtool_plugins.sources.atnf.psrcat import from_ecliptic, read_psrcat
from rvtool_plugins.sources.atnf.source import LARGEST, Atnf

ATNF = Atnf(AtnfConfig())
RULE = "@-----------------------------------------------------------------\n"


def package(text: bytes = b"", name: str = "psrcat_tar/psrcat.db") -> bytes:
    """Return a package that holds one file."""
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(text)
        archive.addfile(member, io.BytesIO(text))
    return gzip.compress(tar.getvalue())


def reply(body: bytes, status: int = 200) -> Reply:
    """Return the reply to the catalogue's request."""
    return Reply(ATNF.query("pulsar", None)[0], status, {}, body)


@pytest.mark.parametrize("settings", [{}, {"backup": "vizier"}])
def test_contract(settings: dict[str, str]) -> None:
    check_source(rvtool_sources()[0], settings)


@pytest.fixture(scope="module")
def real(shared: Path) -> dict[str, Target]:
    """The pulsars of the real catalogue."""
    return {t.id: t for t in read_psrcat((shared / "catalogues/psrcat_v1.67.db").read_text())}


@pytest.mark.shared
def test_all_pulsars_come(real: dict[str, Target]) -> None:
    assert len(real) == 3320
    assert sum(t.columns["period_s"] is not None for t in real.values()) == 1802 + 1484


@pytest.mark.parametrize(
    ("name", "ra_deg", "dec_deg", "period_s", "dm", "s1400_mjy"),
    [
        ("J0534+2200", 83.633221, 22.014461, 0.0333924123, 56.77118, 14.0),  # the Crab, by F0
        ("J0437-4715", 69.316234, -47.252531, 0.00575745193671264, 2.64476, 150.2),
        ("J0006+1834", 1.52, 18.583056, 0.69374767047, 11.41, None),  # by P0
        ("J0030+0451", 7.614281, 4.861031, 0.00486545321149608, 4.332772, 0.6),  # by ELONG and ELAT
    ],
)
@pytest.mark.shared
def test_known_pulsars(
    real: dict[str, Target],
    name: str,
    ra_deg: float,
    dec_deg: float,
    period_s: float,
    dm: float,
    s1400_mjy: float | None,
) -> None:
    pulsar = real[name]
    assert (pulsar.ra_deg, pulsar.dec_deg) == pytest.approx((ra_deg, dec_deg), abs=1e-6)
    assert pulsar.columns["period_s"] == pytest.approx(period_s, rel=1e-9)
    assert pulsar.columns["dm_pc_cm3"] == dm
    assert pulsar.columns["s1400_mjy"] == s1400_mjy


@pytest.mark.shared
def test_names_hold_the_positions_that_were_turned(real: dict[str, Target]) -> None:
    # a name has minutes of time and of arc: 15 arcmin and 1 arcmin
    for name in ("J0023+0923", "J0048+3412", "J1909-3744", "J2145-0750"):
        pulsar = real[name]
        assert pulsar.ra_deg is not None
        assert pulsar.dec_deg is not None
        ra_deg = 15 * (int(name[1:3]) + int(name[3:5]) / 60)
        dec_deg = float(f"{name[5]}1") * (int(name[6:8]) + int(name[8:10]) / 60)
        assert 0 <= pulsar.ra_deg - ra_deg <= 0.26
        assert abs(pulsar.dec_deg - dec_deg) <= 0.02


@given(st.floats(0, 360), st.floats(-89.9, 89.9))
def test_the_ecliptic_is_astropys(longitude_deg: float, latitude_deg: float) -> None:
    """Its mean ecliptic of J2000, whose obliquity is 0.006 arcsec less and whose axes are 0.02 arcsec off."""
    theirs = SkyCoord(longitude_deg * u.deg, latitude_deg * u.deg, frame=BarycentricMeanEcliptic()).icrs
    ours = SkyCoord(*from_ecliptic(longitude_deg, latitude_deg), unit="deg")
    assert ours.separation(theirs).arcsec < 0.05


def test_the_crab_in_a_few_lines() -> None:
    text = (
        "#CATALOGUE 2.0\n# a comment\nPSRB     B0531+21  aaa\nPSRJ     J0534+2200\n"
        "RAJ      05:34:31.973  5  aaa\nDECJ     +22:00:52.06  6  aaa\nF0       29.946923  1\nF1       -3.77535E-10 2\n"
        "TYPE     HE[cdt69,fhm+69]\nASSOC    SNR:Crab[ccl+69],XRS:x[a]\n" + RULE
    )
    (crab,) = read_psrcat(text)
    assert (crab.id, crab.columns["label"]) == ("J0534+2200", "pulsar")
    assert (crab.ra_deg, crab.dec_deg) == pytest.approx((83.6332208, 22.0144611), abs=1e-6)
    assert crab.columns["period_derivative"] == pytest.approx(4.2097e-13, rel=1e-4)
    assert crab.columns["type"] == "HE"  # without references
    assert crab.columns["association"] == "SNR:Crab,XRS:x"
    assert crab.columns["b_name"] == "B0531+21"
    assert crab.columns["s1400_mjy"] is None


@pytest.mark.parametrize(
    ("ra", "dec", "place"),
    [
        ("00:33", "-20:58.1", (8.25, -20.968333)),
        ("00:25", "-19", (6.25, -19.0)),
        ("12:00:00.0", "-00:30", (180.0, -0.5)),
        ("unknown", "+10", None),
    ],
)
def test_positions_that_are_hardly_known(ra: str, dec: str, place: tuple[float, float] | None) -> None:
    found = read_psrcat(f"PSRJ     J0000+0000\nRAJ      {ra}\nDECJ     {dec}\n{RULE}")
    assert [(t.ra_deg, t.dec_deg) for t in found] == ([pytest.approx(place, abs=1e-6)] if place else [])


pulsars = st.lists(
    st.tuples(st.integers(0, 1439), st.integers(-89 * 60, 89 * 60), st.floats(1e-4, 20)), max_size=5, unique_by=str
)


@given(pulsars, st.sampled_from(["", "# comment\n", "\n"]))
def test_what_is_written_is_read(made: list[tuple[int, int, float]], between: str) -> None:
    text = "".join(
        f"PSRJ     P{n}\n{between}RAJ      {ra // 60:02d}:{ra % 60:02d}:00 1 a\n"
        f"DECJ     {'-' if dec < 0 else '+'}{abs(dec) // 60:02d}:{abs(dec) % 60:02d}:00.0 1 a\n"
        f"P0       {period!r} 3 a\n{RULE}"
        for n, (ra, dec, period) in enumerate(made)
    )
    for n, (target, (ra, dec, period)) in enumerate(zip(read_psrcat(text), made, strict=True)):
        assert target.id == f"P{n}"
        assert target.ra_deg is not None
        assert target.dec_deg is not None
        assert hypot(target.ra_deg - ra / 4, target.dec_deg - dec / 60) < 1e-9
        assert target.columns["period_s"] == period


@given(st.text(st.characters(codec="ascii"), max_size=300))
def test_any_text_is_read(text: str) -> None:
    assert all(target.id for target in read_psrcat(text))


@pytest.mark.parametrize("backup", ["", "vizier"])
def test_pulsars_of_the_stand_in(sky: Sky, backup: str) -> None:
    source = Atnf(AtnfConfig.model_validate({"backup": backup}))
    (request,) = source.query("pulsar", 10)
    assert request.shared
    read = source.entries("pulsar", answer(request, source.info.base_url, sky))
    assert isinstance(read, Listed)
    for target, thing in zip(read.targets, sky.catalogue("pulsar", 400), strict=True):
        assert (target.ra_deg, target.dec_deg) == pytest.approx((thing.ra_deg, thing.dec_deg), abs=1e-4)
        assert target.columns["s1400_mjy"] == pytest.approx(thing.flux_jy * 1e3, abs=1e-3)


def test_the_version_is_in_the_address() -> None:
    url = Atnf(AtnfConfig(version="1.68")).query("", None)[0].url
    assert url == "https://www.atnf.csiro.au/research/pulsar/psrcat/downloads/psrcat_pkg.v1.68.tar.gz"


def test_the_checksum_is_kept_to() -> None:
    body = package(b"PSRJ     J1\nRAJ      01:00\nDECJ     +02:00\n")
    right = Atnf(AtnfConfig(sha256=hashlib.sha256(body).hexdigest().upper()))
    assert isinstance(right.entries("pulsar", reply(body)), Listed)
    assert not any("sha256" in fact for fact in right.info.unverified)
    wrong = Atnf(AtnfConfig(sha256="0" * 64)).entries("pulsar", reply(body))
    assert isinstance(wrong, Fatal)
    assert hashlib.sha256(body).hexdigest() in wrong.reason
    assert any("sha256" in fact for fact in ATNF.info.unverified)


@pytest.mark.parametrize(
    ("body", "kind", "said"),
    [
        (package(b"x", "psrcat_tar/other.db"), Fatal, "psrcat.db"),
        (package(bytes(LARGEST + 1)), Retry, "refused"),  # 64 MiB of nothing in 64 kB
        (package(b"x")[:-20], Retry, "cut off"),
        (b"<html>Service unavailable</html>", Retry, "Service unavailable"),
        (b"", Retry, "no package"),
    ],
    ids=["other file", "bomb", "cut off", "page", "nothing"],
)
def test_packages_that_are_none(body: bytes, kind: type, said: str) -> None:
    read = ATNF.entries("pulsar", reply(body))
    assert isinstance(read, kind)
    assert isinstance(read, Retry | Fatal)
    assert said in read.reason


@pytest.mark.parametrize("fault", ["votable-error", "votable-overflow"])
def test_faults_of_the_copy_are_asked_again(sky: Sky, fault: str) -> None:
    source = Atnf(AtnfConfig(backup="vizier"))
    (request,) = source.query("pulsar", None)
    bad = faulty(fault, respond(Asked.of(request, source.info.base_url), sky)).reply(request)
    assert isinstance(source.entries("pulsar", bad), Retry)


@pytest.mark.live
def test_live(fetch: Callable[[Request], Reply]) -> None:
    read = ATNF.entries("pulsar", fetch(ATNF.query("pulsar", None)[0]))
    assert isinstance(read, Listed)
    assert len(read.targets) > 3320
