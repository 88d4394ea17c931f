"""Tables of targets: every usual form gives the same targets, and what is wrong is told by its row."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rvtool.errors import DataError
from rvtool.services.positions import sexagesimal
from rvtool.verbs.collect.targets import read_targets

CSV = b"id,ra_deg,dec_deg,label,flux_jy\na,187.7059,12.3911,FRI,1.5\nb,83.6331,-22.0145,,\n"


@pytest.fixture
def read(tmp_path):
    def read(body, name="targets.csv", report=None):
        path = tmp_path / name
        path.write_bytes(body.encode() if isinstance(body, str) else body)
        return list(read_targets(path, report))

    return read


def astropy_table():
    from astropy.table import Table

    return Table(
        {
            "Name": ["a", "b"],
            "RAJ2000": [187.7059, 83.6331],
            "DEJ2000": [12.3911, -22.0145],
            "class": ["FRI", ""],
            "flux_jy": [1.5, float("nan")],
        }
    )


def written(form):
    from astropy.io.votable import from_table, writeto

    out = io.BytesIO()
    if form == "votable":
        writeto(from_table(astropy_table()), out)
    elif form == "ecsv":
        text = io.StringIO()
        astropy_table().write(text, format="ascii.ecsv")
        out.write(text.getvalue().encode())
    else:
        astropy_table().write(out, format="fits")
    return out.getvalue()


def forms():
    text = CSV.decode()
    vizier = "#INFO\n" + text.replace(",", "\t").replace(
        "flux_jy\n", "flux_jy\n\tdeg\tdeg\t\tJy\n--\t---\t---\t--\t---\n"
    )
    return {
        "csv": CSV,
        "with a mark": b"\xef\xbb\xbf" + CSV,
        "tsv": text.replace(",", "\t").encode(),
        "semicolons": text.replace(",", ";").encode(),
        "vizier": vizier.encode(),
        "gzip": gzip.compress(CSV),
        "comma at the end": text.replace("\n", ",\n").encode(),
        **{form: written(form) for form in ("votable", "ecsv", "fits")},
        "fits.gz": gzip.compress(written("fits")),
    }


@pytest.mark.parametrize("form", forms())
def test_every_form_gives_the_same(read, form):
    a, b = read(forms()[form], "anything.dat")
    assert (a.id, a.ra_deg, a.dec_deg) == ("a", 187.7059, 12.3911)
    assert a.columns == {"label": "FRI", "flux_jy": 1.5}
    assert (b.id, b.ra_deg, b.dec_deg) == ("b", 83.6331, -22.0145)
    assert b.columns == {"label": None, "flux_jy": None}


@pytest.mark.parametrize(
    ("names", "ra"),
    [
        ("RA,Dec", 12.5),
        ("Ra (deg),Dec (deg)", 12.5),
        ("RA_deg,Dec_deg", 12.5),
        ("_RAJ2000,_DEJ2000", 12.5),
        ("RA_ICRS,DE_ICRS", 12.5),
        ("ALPHA_J2000,DELTA_J2000", 12.5),
        ("s_ra,s_dec", 12.5),
        ("ra_hours,dec_deg", 187.5),
        ("RA [h],Dec [deg]", 187.5),
    ],
)
def test_names_of_positions(read, names, ra):
    (target,) = read(f"{names}\n12.5,-30.25\n")
    assert (target.ra_deg, target.dec_deg) == (pytest.approx(ra), -30.25)


@pytest.mark.parametrize(
    ("head", "row"),
    [
        ("RAJ2000|DEJ2000", "12 30 49.42|+12 23 28.0"),
        ("ra|dec", "12:30:49.42|12:23:28.0"),
        ("ra|dec", "12h30m49.42s|+12d23m28.0s"),
        ("coord|z", "12 30 49.42 +12 23 28.0|0.1"),
        ("position|z", "187.7059166667 12.3911111|0.1"),
        ("SDSS|z", "J123049.42+122328.0|0.1"),
        ("ra_deg|dec_deg", "187 42 21.3|+12 23 28"),
        ('ra|dec\n"h:m:s"|"d:m:s"\n---|---', "12 30 49.42|+12 23 28.0"),
        ("ra|dec\nhourangle|deg\n---|---", "12.5137277778|12.3911111"),
    ],
)
def test_sexagesimal_and_units(read, head, row):
    (target,) = read(f"{head}\n{row}\n")
    assert target.ra_deg == pytest.approx(187.7059167, abs=1e-6)
    assert target.dec_deg == pytest.approx(12.3911111, abs=1e-6)


def test_votable_tells_hours(read):
    table = astropy_table()
    table["RAJ2000"] /= 15
    table["RAJ2000"].unit = "h"
    out = io.BytesIO()
    from astropy.io.votable import from_table, writeto

    writeto(from_table(table), out)
    assert read(out.getvalue())[0].ra_deg == pytest.approx(187.7059)


def test_degrees_are_preferred_to_hours(read):
    (target,) = read("RA_hms,Dec_dms,RA_deg,Dec_deg\n01 00 00,+01 00 00,15.5,1.5\n")
    assert (target.ra_deg, target.dec_deg) == (15.5, 1.5)
    assert target.columns == {"RA_hms": "01 00 00", "Dec_dms": "+01 00 00"}


@given(ra=st.floats(0, 359.99), dec=st.floats(-89.99, 89.99), separator=st.sampled_from(" :"))
@settings(deadline=None, max_examples=50)
def test_sexagesimal_comes_back(tmp_path_factory, ra, dec, separator):
    path = tmp_path_factory.mktemp("targets") / "one.csv"
    path.write_text("ra,dec\n{},{}\n".format(*sexagesimal(ra, dec, separator)))
    (target,) = read_targets(path)
    assert abs((target.ra_deg - ra + 180) % 360 - 180) < 5e-5
    assert target.dec_deg == pytest.approx(dec, abs=2e-5)


def test_ids(read):
    (target,) = read("ra,dec\n187.7059167,12.3911111\n")
    assert target.id == "J123049.42+122328.0"
    assert [t.id for t in read("objid,ra,dec\n1237653651835781245,1,2\n007,3,4\n")] == ["1237653651835781245", "007"]
    (target,) = read("ra,dec,objid\n1,2,1237653651835781245\n")
    assert target.id == "1237653651835781245"


def test_what_stands_twice(read):
    said = []
    rows = "id,ra,dec\na,1,2\na,1,2\na,3,4\nb,5,6\na-2,7,8\na,1,2\n"
    targets = read(rows, report=said.append)
    assert [(t.id, t.ra_deg) for t in targets] == [("a", 1), ("a-2", 3), ("b", 5), ("a-2-2", 7)]
    assert said == ["2 rows that stood there already were left out."]


def test_rows_are_told_apart_by_their_values(read):
    """Not by their hashes: -1 and -2 have the same in Python."""
    targets = read("id,ra,dec,z\na,1,-1,-1\na,1,-2,-1\na,1,-1,-2\na,1,-1,-1\n")
    assert [(t.id, t.dec_deg, t.columns["z"]) for t in targets] == [("a", -1, -1), ("a-2", -2, -1), ("a-3", -1, -2)]


def test_the_longest_names(read):
    (target,) = read(f"id,label,ra,dec\n{'b' * 200},{'c' * 100},3,4\n")
    assert (len(target.id), len(target.columns["label"])) == (200, 100)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_quotes_hold_anything(read, end):
    lines = [
        '"ra, deg";"id";dec;note',
        '12.5;"#1";-30;"two, lines',
        "",
        '# and; a ""mark"""',
        "# comment",
        '13;b;4;5" off',
    ]
    first, second = read(end.join(lines) + end)
    assert (first.id, first.ra_deg, first.dec_deg) == ("#1", 12.5, -30)
    assert first.columns["note"] == f'two, lines{end}{end}# and; a "mark"'
    assert (second.id, second.ra_deg, second.columns["note"]) == ("b", 13, '5" off')


def test_only_line_ends_end_lines(read):
    (target,) = read("id,ra,dec,note\na,1,2,x\u2028y\x0bz\x85\n")
    assert target.columns["note"] == "x\u2028y\x0bz"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "latin-1"])
def test_encodings(read, encoding):
    (target,) = read("id,ra,dec\nMüller-Å,1,2\n".encode(encoding))
    assert target.id == "Müller-Å"


@pytest.mark.parametrize(
    ("ra", "dec", "place"),
    [("12h30m", "-20d30m", (187.5, -20.5)), ("12d30m", "-20d30m", (12.5, -20.5)), ("12°30′", "-20°", (12.5, -20)),
     ("12 30", "−20 30", (187.5, -20.5))],
)  # fmt: skip
def test_letters_tell_hours_from_degrees(read, ra, dec, place):
    (target,) = read(f"ra,dec\n{ra},{dec}\n")
    assert (target.ra_deg, target.dec_deg) == pytest.approx(place)


def test_names_of_the_manifest_are_kept_apart(read):
    (target,) = read("id,ra,dec,class,label,split,path,path_given,type\na,1,2,FRI,bent,train,p,q,r\n")
    assert target.columns == {
        "label": "bent", "class": "FRI", "split_given": "train",
        "path_given_given": "p", "path_given": "q", "type": "r",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("", "is empty"),
        ("# nothing\n", "nothing but comments"),
        ("ra,dec\n", "has no rows"),
        ("glon,glat\n1,2\n", r"has no columns of positions; it has glon, glat, and could have _raj2000/_dej2000"),
        ("ra,dec\n1,2\n400,2\n", r"row 2: '400' in column 'ra'; right ascension must be within 0 and 360"),
        ("ra,dec\n1,2\n-1,2\n", "row 2: '-1'"),
        ("ra,dec\n1,-91\n", r"row 1: '-91' in column 'dec'; declination must be within -90 and 90"),
        ("ra_hours,dec\n25,1\n", "row 1: '25'"),
        ("ra,dec\n1,2\nfar,2\n", "row 2: 'far' in column 'ra'; it cannot be read"),
        ("ra,dec\n1,2\n,2\n", "row 2: nothing in column 'ra'"),
        ("ra,dec\n12 61 00,2\n", "row 1: '12 61 00'"),
        ("coord\n12 75 00 +12 00 00\n", "row 1: '12 75 00 .12 00 00'.*below 60"),
        ("id,ra,dec\na,1,2\n#\nb,3\n", r"line 4 has another number of cells \(2\) than there are names \(3\)"),
        ('id,ra,dec\na,1,2\n"b,3,4\nc,5,6\n', r"line 4 cannot be read \(unexpected end of data\)"),
        (f"id,ra,dec\na,1,2\n{'b' * 3_000_000},3,4\n", r"line 3 cannot be read \(field larger than"),
        (f"id,ra,dec\na,1,2\n{'b' * 201},3,4\n", r"row 2: 'b{57}\.\.\.' in column 'id'; it has more than 200 char"),
        (f"label,ra,dec\n{'b' * 101},3,4\n", "row 1: 'b{57}.*column 'label'; it has more than 100 characters"),
        ("id,ra,dec\na,1,2\n".encode("utf-16-le"), "in an encoding that it does not tell; save it as UTF-8"),
        ("coord\n1 2\nVega\n", "row 2: 'Vega' in column 'coord'"),
        ("coord\n400 2\n", "row 1: '400 2'.*right ascension 400"),
        ("ra,dec\narcmin,deg\n---,---\n1,2\n", "'ra' in 'arcmin'"),
        ("ra,dec\n1,2\n3\n", r"line 3 has another number of cells \(1\) than there are names \(2\)"),
        ("<html>Not found</html>", "web page or XML"),
        (gzip.compress(CSV)[:-12], "cannot be unpacked: the compressed file is cut off"),
        ('<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "b">]><VOTABLE/>', "entities"),
    ],
)
def test_what_is_wrong_is_told(read, body, told):
    with pytest.raises(DataError, match=told):
        read(body)


def test_a_missing_file(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        read_targets(tmp_path / "none.csv")
    with pytest.raises(DataError, match="cannot be read"):
        read_targets(tmp_path)


@given(body=st.binary(max_size=300) | st.text(alphabet='ra,dec\n\t"|12 -:', max_size=80).map(str.encode))
@settings(deadline=None, max_examples=100)
def test_any_bytes_are_a_table_or_refused(tmp_path_factory, body):
    path = tmp_path_factory.mktemp("targets") / "any"
    path.write_bytes(body)
    try:
        targets = list(read_targets(path))
    except DataError:
        return
    assert all(0 <= t.ra_deg < 360 and -90 <= t.dec_deg <= 90 for t in targets)


@pytest.mark.shared
@pytest.mark.parametrize(
    ("file", "count", "first", "ra_deg", "label"),
    [
        ("catalogues/CoNFIG.tsv", 858, "J071338.15+434917.2", 108.4089583, None),
        ("catalogues/FR1CAT.tsv", 219, "J002900.98-011341.7", 7.2540833, None),
        ("catalogues/FR2CAT.tsv", 123, "J001247.57+004715.8", 3.1982083, "LEG"),
        ("catalogues/Garon-combined.tsv", 4304, "J000024.0+122953", 0.10026, "2"),
        ("catalogues/Proctor-2011.tsv", 1932, "J000331.22+002804.2", 0.880075, None),
        ("catalogues/FIRST_VIII-92_part60.csv", 7394, "J154507.81+215405.0", 236.28252917, None),
        ("services/astroquery_sdss/xid_im.txt", 18, "1237653651835781245", 2.02344282607, None),
        ("services/pyvo/scs_result.xml", 1273, "1522124650242182041", 77.6581, None),
    ],
)
def test_real_tables(shared, file, count, first, ra_deg, label):
    targets = list(read_targets(shared / file))
    assert len(targets) == len({target.id for target in targets}) == count
    assert (targets[0].id, targets[0].columns.get("label")) == (first, label)
    assert targets[0].ra_deg == pytest.approx(ra_deg, abs=1e-6)


def test_a_hundred_thousand_rows(tmp_path):
    path = Path(tmp_path / "many.csv")
    path.write_text("id,ra,dec\n" + "".join(f"s{i},{i % 36000 / 100},{i % 170 - 85}\n" for i in range(100_000)))
    targets = read_targets(path)
    assert next(targets).id == "s0"
    assert sum(1 for _ in targets) == 99_999


@pytest.mark.parametrize("equinox", ["J2000", "icrs", "2000.0"])
def test_an_equinox_in_a_name_is_no_unit(tmp_path, equinox):
    (tmp_path / "t.csv").write_text(f"Source Name,RA ({equinox}),DEC ({equinox})\na,12 30 49.4,+12 23 28\n")
    (target,) = read_targets(tmp_path / "t.csv")
    assert (target.ra_deg, target.dec_deg) == pytest.approx((187.705833, 12.391111))


def test_another_equinox_is_refused(tmp_path):
    (tmp_path / "t.csv").write_text("name,RA (B1950),DEC (B1950)\na,12 30 49.4,+12 23 28\n")
    with pytest.raises(DataError, match="J2000 or ICRS"):
        list(read_targets(tmp_path / "t.csv"))
