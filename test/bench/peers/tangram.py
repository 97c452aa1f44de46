"""Tangram's Channel service alone, without the rest of Tangram: python tangram.py PORT REDIS_URL SECRET"""

import asyncio
import json
import sys

from tangram_core._core import ChannelConfig, run


async def serve(port: int, redis_url: str, secret: str) -> None:
    service = run(
        ChannelConfig(
            host="127.0.0.1",
            port=port,
            redis_url=redis_url,
            jwt_secret=secret,
            jwt_expiration_secs=86400,
            id_length=8,
        )
    )
    service = asyncio.ensure_future(service)
    while not service.done():
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
            continue
        writer.close()
        listening = {"message": "listening", "url": f"http://127.0.0.1:{port}/"}
        print(json.dumps(listening, separators=(",", ":")), file=sys.stderr, flush=True)
        break
    await service


asyncio.run(serve(int(sys.argv[1]), sys.argv[2], sys.argv[3]))
