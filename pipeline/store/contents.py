"""What a file holds, for comparing it with the published one: decoded only where its bytes are not."""

import hashlib
import io
import re
import wave
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline import paths
from pipeline.corpora.wholeness import Seen
from pipeline.errors import AudioError
from pipeline.store import audio

OID = re.compile(rb"oid sha256:([0-9a-f]{64})")


def look(folder: Path, path: str, *, published: Collection[str]) -> Seen:
    """Hash a file, and decode it where its hash is none of ``published``."""
    try:
        audio.refuse_format(folder / path)
        data = paths.content(folder / path)
    except OSError as error:
        return Seen(path=path, sha256="", fault=f"it cannot be read: {error.strerror}")
    except AudioError as error:
        return Seen(path=path, sha256="", fault=str(error))
    digest = hashlib.sha256(data).hexdigest()
    if digest in published:
        return Seen(path=path, sha256=digest)
    if data.startswith(audio.POINTER):
        oid = OID.search(data)
        return Seen(path=path, sha256=digest, pointer=oid[1].decode() if oid else "unknown")
    try:
        recording = audio.decode(data, name="it")
    except AudioError as error:
        return Seen(path=path, sha256=digest, fault=str(error))
    return heard(path, digest, recording)


def heard(path: str, digest: str, recording: audio.Recording) -> Seen:
    """Hash the samples of a decoded file."""
    samples = audio.samples_hash(recording.samples)
    plain = plain_wav(recording.samples, recording.sample_rate) if recording.samples.dtype == np.int16 else b""
    again = hashlib.sha256(plain).hexdigest() if plain else ""
    return Seen(path=path, sha256=digest, samples_sha256=samples, plain_sha256=again, plain_bytes=len(plain))


def plain_wav(samples: npt.NDArray[Any], sample_rate: int) -> bytes:
    """Write int16 samples, shape ``(frames, channels)``, behind the shortest header a WAV can have, of 44 bytes."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(samples.shape[1])
        writer.setsampwidth(2)
        writer.setframerate(sample_rate)
        writer.writeframes(samples.astype("<i2").tobytes())
    return file.getvalue()
