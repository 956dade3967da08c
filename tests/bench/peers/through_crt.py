"""AWS's Common Runtime, its clients' engine in C, through s3transfer: `put PATH KEY`, `get KEY PATH`.

boto3 would take it too, but only to Amazon's own endpoints; s3transfer's manager takes any.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import botocore.session
from s3transfer.crt import (
    BotocoreCRTCredentialsWrapper,
    BotocoreCRTRequestSerializer,
    CRTTransferManager,
    create_s3_crt_client,
)

from tests.bench.peers.staged import timed


def main(verb: str, first: str, second: str) -> None:
    bucket, _, key = (first if verb == "get" else second).partition("/")
    endpoint, region = os.environ["AWS_ENDPOINT_URL"], os.environ["AWS_REGION"]
    session = botocore.session.get_session()
    credentials = BotocoreCRTCredentialsWrapper(session.get_credentials()).to_crt_credentials_provider()
    client = create_s3_crt_client(
        region,
        credentials,
        use_ssl=endpoint.startswith("https:"),
        verify=os.environ.get("AWS_CA_BUNDLE"),
    )
    told = {"endpoint_url": endpoint, "region_name": region}
    with CRTTransferManager(client, BotocoreCRTRequestSerializer(session, told)) as manager, timed():
        moving: list[Future[Any]] = []
        match verb:
            case "put" if os.path.isdir(first):
                files = [path for path in Path(first).rglob("*") if path.is_file()]
                moving += [manager.upload(str(path), bucket, f"{key}/{path.relative_to(first)}") for path in files]
            case "put":
                moving.append(manager.upload(first, bucket, key))
            case "get" if second.endswith("/"):
                lister = session.create_client("s3").get_paginator("list_objects_v2")
                for page in lister.paginate(Bucket=bucket, Prefix=f"{key}/"):
                    for item in page.get("Contents", []):
                        path = Path(second, item["Key"].removeprefix(f"{key}/"))
                        path.parent.mkdir(parents=True, exist_ok=True)
                        moving.append(manager.download(bucket, item["Key"], str(path)))
            case "get":
                moving.append(manager.download(bucket, key, second))
        for one in moving:
            one.result()


if __name__ == "__main__":
    main(*sys.argv[1:])
