"""An S3 server that several tests share."""

import os
import subprocess
import sys

import pytest

from tests.buckets import objects

SERVER = """
from moto.server import ThreadedMotoServer
import logging, sys
logging.getLogger("werkzeug").disabled = True
server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
print("http://{}:{}".format(*server.get_host_and_port()), flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def s3(tmp_path_factory):
    """A client of an S3 server with the bucket ``ser``; child processes reach it by the environment."""
    pytest.importorskip("moto.server", reason="moto plays the S3 server")
    boto3 = pytest.importorskip("boto3", reason="it comes with moto")
    child = subprocess.Popen([sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        patch.setenv("AWS_ENDPOINT_URL", child.stdout.readline().strip())
        for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
            file = tmp_path_factory.mktemp("aws") / name
            file.touch()
            patch.setenv(name, str(file))
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "testing")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        client = boto3.client("s3")
        client.create_bucket(Bucket="ser")
        yield client
    child.communicate()


@pytest.fixture
def bucket(s3):
    """The bucket, empty."""
    for name in objects(s3):
        s3.delete_object(Bucket="ser", Key=name)
    return s3
