"""What lies in the bucket of the S3 server that the fixture ``s3`` starts."""

from typing import Any


def objects(s3: Any, below: str = "") -> dict[str, bytes]:
    """What lies in the bucket."""
    listed = s3.list_objects_v2(Bucket="ser", Prefix=below).get("Contents", ())
    return {each["Key"]: s3.get_object(Bucket="ser", Key=each["Key"])["Body"].read() for each in listed}
