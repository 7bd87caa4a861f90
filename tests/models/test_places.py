"""Where weights are looked for, and how a missing one is said."""

import hashlib
import math
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub.constants as hub
import pytest

from evs_batch.models import loading, zoo
from evs_batch.models.places import Download, Hub, Local, locate, size_bytes
from evs_batch.spec.errors import ModelError
from tests.models import checkpoints

COMMIT = checkpoints.COMMIT


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub."""
    monkeypatch.setattr(hub, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def test_a_model_is_named_by_zoo_by_path_or_by_hub_id(tmp_path: Path):
    assert zoo.t2i_source("EP").weights == zoo.T2I_MODELS["EP"].weights
    assert zoo.t2i_source(str(tmp_path)).weights == Local(tmp_path)
    (tmp_path / "model.safetensors").touch()
    single = zoo.t2i_source(str(tmp_path / "model.safetensors"))
    assert single.tokenizer == zoo.T2I_MODELS["SD"].weights, "a single file has no tokenizer of its own"
    other = zoo.t2i_source("somebody/their-model").weights
    assert isinstance(other, Hub)
    assert other.repo == "somebody/their-model"
    motion = zoo.t2v_source("somebody/their-motion", base="EP")
    assert (str(motion.motion), motion.base.name) == ("somebody/their-motion", "EP")
    with pytest.raises(ModelError, match="did you mean 'lightningEP'"):
        zoo.t2v_source("lightninEP")


def test_a_repository_in_the_cache_is_loaded_offline(cache: Path, tmp_path: Path):
    checkpoints.put_in_cache(cache, "somebody/their-model", checkpoints.diffusers_folder(tmp_path / "made"))
    source = zoo.t2i_source("somebody/their-model")
    assert loading.load_unet(source).config["cross_attention_dim"] == checkpoints.TEXT_WIDTH
    assert loading.load_text(source)[0]("a").input_ids
    assert loading.load_vae(source).config["latent_channels"] == 4


def test_a_missing_model_says_the_command_that_gets_it(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(ModelError, match=r"emilianJR/epiCRealism: is not .*evs-batch models fetch EP"):
        loading.load_unet(zoo.t2i_source("EP"))
    monkeypatch.setenv("EVS_MODELS", str(tmp_path))
    with pytest.raises(ModelError, match=rf"download it from https://civitai.*{tmp_path}/realisticVision"):
        loading.load_unet(zoo.t2i_source("RV"))


def test_a_repository_that_lacks_a_file_is_missing(cache: Path, tmp_path: Path):
    folder = checkpoints.diffusers_folder(tmp_path / "made")
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    checkpoints.put_in_cache(cache, "somebody/half", folder)
    with pytest.raises(ModelError, match="somebody/half: is not on this machine"):
        loading.load_unet(zoo.t2i_source("somebody/half"))


def test_a_downloaded_file_lies_in_the_folder_for_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("EVS_MODELS", str(tmp_path))
    place = Download(file="x.safetensors", page="https://example.org")
    assert place.find() is None
    (tmp_path / "x.safetensors").touch()
    assert locate(place, "x") == tmp_path / "x.safetensors"


@pytest.fixture
def hub_server(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A server that speaks the hub's protocol for files; serves the folder that it gives, whatever the repository."""
    served = tmp_path / "served"

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, *, body: bool) -> None:
            _, _, path = self.path.partition("/resolve/")
            file = served / path.partition("/")[2]
            if not file.is_file():
                self.send_response(404)
                self.send_header("X-Error-Code", "EntryNotFound")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            data = file.read_bytes()
            self.send_response(200)
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if body:
                self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(hub, "ENDPOINT", url)
    monkeypatch.setattr(hub, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(hub, "HF_HUB_OFFLINE", False)
    yield served
    server.shutdown()
    server.server_close()


def test_fetching_gets_what_is_needed_and_then_everything_is_offline(hub_server: Path, monkeypatch: pytest.MonkeyPatch):
    checkpoints.diffusers_folder(hub_server)
    place = zoo.t2i_source("somebody/their-model").weights
    assert place.find() is None
    assert place.fetch() == place.find()
    monkeypatch.setattr(hub, "HF_HUB_OFFLINE", True)
    assert loading.load_unet(zoo.t2i_source("somebody/their-model")).config["in_channels"] == 4


def test_what_the_hub_does_not_have_is_said(hub_server: Path):
    with pytest.raises(ModelError, match=r"somebody/their-model: cannot be fetched .*404"):
        zoo.t2i_source("somebody/their-model").weights.fetch()
    with pytest.raises(ModelError, match="is not on the hub; download it from"):
        zoo.T2I_MODELS["RV"].weights.fetch()


def test_fetching_offline_is_refused_by_name(cache: Path):
    with pytest.raises(ModelError, match="cannot be fetched offline; unset HF_HUB_OFFLINE"):
        zoo.t2i_source("somebody/their-model").weights.fetch()


def test_bytes_of_weights_are_counted_in_linked_folders_too(tmp_path: Path):
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "weights.safetensors").write_bytes(bytes(1000))
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "unet").symlink_to(tmp_path / "unet")
    (tmp_path / "model" / "index.json").write_bytes(bytes(10))
    assert size_bytes(Local(tmp_path / "model")) == 1010
    assert size_bytes(Local(tmp_path / "unet" / "weights.safetensors")) == 1000
    assert size_bytes(Local(tmp_path / "none")) == math.inf
