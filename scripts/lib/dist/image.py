"""An image of the architectures that were built, from scratch: the program and the library, nothing else.

`heaptap-VERSION-oci.tar` is an OCI image layout (image-spec 1.1): `podman load`, `skopeo copy oci-archive:…`,
`ctr image import`. Its command copies both to a volume: `heaptap install DIR`.
"""
import gzip
import hashlib
import json
from datetime import datetime, timezone
from pathlib import Path

from dist import build, files
from dist.build import Built
from dist.files import Pages

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
#: OCI's names of the architectures.
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
#: Where a volume is mounted to install to: a new volume gets the rights that this folder has in the image.
VOLUME = "heaptap-volume/"
#: Who runs it unless told otherwise: nobody. Files are readable by all.
USER = "65534:65534"


class Blobs:
    """Content by its sum."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    def add(self, content: bytes, media_type: str) -> dict:
        """Keeps it; its descriptor."""
        digest = hashlib.sha256(content).hexdigest()
        self.files[f"blobs/sha256/{digest}"] = content
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}

    def add_json(self, value: dict, media_type: str) -> dict:
        """The same of a document."""
        return self.add(json.dumps(value, sort_keys=True).encode(), media_type)


def image(all_built: list[Built], pages: Pages) -> Path:
    """The layout, as one file."""
    blobs = Blobs()
    manifests = [manifest(built, pages, blobs) for built in all_built]
    index = blobs.add_json({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}, INDEX)
    index["annotations"] = {"org.opencontainers.image.ref.name": build.version(),
                            "io.containerd.image.name": f"localhost/heaptap:{build.version()}"}
    top = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [index]}
    layout = {"oci-layout": json.dumps({"imageLayoutVersion": "1.0.0"}).encode(),
              "index.json": json.dumps(top, sort_keys=True).encode(), **blobs.files}
    path = build.OUTPUT / f"heaptap-{build.version()}-oci.tar"
    path.write_bytes(files.tar(layout))
    return path


def manifest(built: Built, pages: Pages, blobs: Blobs) -> dict:
    """One architecture's."""
    layer = files.tar({"heaptap": built.program, "libheaptap.so": built.library, "LICENSES": pages.copyright, VOLUME: b""})
    stamp = build_time()
    config = {
        "architecture": ARCHITECTURES[built.arch], "os": "linux", "created": stamp,
        "config": {"Entrypoint": ["/heaptap"], "Cmd": ["--help"], "User": USER, "WorkingDir": "/",
                   "Labels": {"org.opencontainers.image.title": "heaptap",
                              "org.opencontainers.image.version": build.version(),
                              "org.opencontainers.image.licenses": "MIT OR Apache-2.0"}},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
        "history": [{"created": stamp, "created_by": "scripts/dist"}],
    }
    document = {"schemaVersion": 2, "mediaType": MANIFEST, "config": blobs.add_json(config, CONFIG),
                "layers": [blobs.add(gzip.compress(layer, 9, mtime=0), LAYER)]}
    platform = {"architecture": ARCHITECTURES[built.arch], "os": "linux"}
    if built.arch == "aarch64":
        platform["variant"] = "v8"
    return blobs.add_json(document, MANIFEST) | {"platform": platform}


def build_time() -> str:
    """RFC 3339."""
    return datetime.fromtimestamp(build.date(), timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
