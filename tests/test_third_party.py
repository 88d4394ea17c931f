"""The example plugin, installed into a fresh environment and used by name."""

import csv
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import threading
import venv
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlparse

import pytest

from rvtool.testing.sky import Sky
from rvtool.testing.sky.fits import fits_bytes, sky_cards

EXAMPLE = Path(__file__).parents[1] / "examples" / "third_party_plugin"


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """A new environment with rvtool's libraries in sight and the plugin installed."""
    root = tmp_path_factory.mktemp("fresh")
    venv.create(root / "env", with_pip=False)
    python = root / "env" / "bin" / "python"
    seen = sysconfig.get_paths()["purelib"]
    inner = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])"],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    (Path(inner) / "libraries.pth").write_text(f"import site; site.addsitedir({seen!r})\n")
    shutil.copytree(EXAMPLE, root / "plugin", ignore=shutil.ignore_patterns("__pycache__", "build", "*.egg-info"))
    done = subprocess.run(
        [python, "-m", "pip", "install", "--no-deps", "--no-build-isolation", "--no-index", "-q", str(root / "plugin")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return python


def rvtool(python, *args, cwd):
    env = {**os.environ, "RVTOOL_STRICT_PLUGINS": "1"}
    return subprocess.run(
        [python, "-m", "rvtool", *map(str, args)], capture_output=True, text=True, cwd=cwd, env=env, check=False
    )


def test_its_components_are_listed(fresh, tmp_path):
    done = rvtool(fresh, "plugins", "--json", cwd=tmp_path)
    rows = [row for row in json.loads(done.stdout) if row["distribution"] == "rvtool-example"]
    assert {(row["kind"], row["name"], row["status"]) for row in rows} == {
        ("source", "example-archive", "ok"),
        ("model", "radial-profile", "ok"),
        ("loss", "margin", "ok"),
        ("augmenter", "gain", "ok"),
    }
    done = rvtool(fresh, "train", "radial-profile", "--help", cwd=tmp_path)
    assert "--rings" in done.stdout


def test_model_loss_and_augmenter_train_by_name(fresh, tmp_path, blobs):
    done = rvtool(
        fresh, "train", "radial-profile", "--data", blobs(), "--epochs", 8, "--batch-size", 8, "--loss", "margin:2",
        "--augment", "gain", "--set", "loss.margin.margin=0.5", "--out", "run", "--gpus", 0, "--rings", 6, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "run/run.json").read_text())
    assert record["losses"] == ["margin:2"]
    assert record["model_version"] == "rvtool-example 0.1.0"
    with open(tmp_path / "run/metrics.csv") as stream:
        rows = list(csv.DictReader(stream))
    assert float(rows[-1]["train/margin"]) < float(rows[0]["train/margin"])
    done = rvtool(fresh, "evaluate", "run", "--device", "cpu", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


class Service(BaseHTTPRequestHandler):
    """Answers as the archive would: an image, a 404, and once a 503."""

    busy = 1

    def do_GET(self):
        asked = parse_qs(urlparse(self.path).query)
        if float(asked["dec"][0]) < -40:
            return self._answer(404, b"")
        if Service.busy:
            Service.busy -= 1
            return self._answer(503, b"busy")
        place = float(asked["ra"][0]), float(asked["dec"][0])
        pixels = Sky().cutout(*place, 150, 150, 1.8, 5.4, 1.5e-4)
        return self._answer(200, fits_bytes(pixels, sky_cards(*place, 150, 150, 1.8)))

    def _answer(self, status, body):
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


def test_its_source_collects_over_http(fresh, tmp_path):
    server = HTTPServer(("127.0.0.1", 0), Service)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        done = rvtool(
            fresh, "collect", "--source", "example-archive", "--ra-deg", "10,20,30", "--dec-deg", "5,-50,6",
            "--base-url", f"http://127.0.0.1:{server.server_port}", "--max-rate", 100, "--out", "data", cwd=tmp_path,
        )  # fmt: skip
    finally:
        server.shutdown()
    assert done.returncode == 3, done.stderr
    assert len(list((tmp_path / "data/images").iterdir())) == 2
    failures = (tmp_path / "data/failures.csv").read_text()
    assert "J020.0000-50.0000,,not in the archive's footprint" in failures


def test_its_own_tests_pass(fresh):
    done = subprocess.run(
        [fresh, "-m", "pytest", "-p", "no:cacheprovider", "tests"],
        capture_output=True, text=True, check=False, cwd=fresh.parents[2] / "plugin",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "passed" in done.stdout


if sys.platform == "win32":
    pytestmark = pytest.mark.skip(reason="the environment's layout differs on Windows")
