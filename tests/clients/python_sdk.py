"""The official Python SDK as a client: URL TOKEN MODE TOOL ARGUMENTS; prints one line of JSON.

MODE is `legacy`, `auto` or a modern protocol version."""

import asyncio
import json
import sys

import httpx2
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client


async def main(url, token, mode, tool, arguments):
    async with httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}, timeout=30) as http:
        async with Client(streamable_http_client(url, http_client=http), mode=mode) as client:
            tools = (await client.list_tools()).tools
            progress = []

            async def note(done, total, message):
                progress.append(done)

            result = await client.call_tool(tool, json.loads(arguments), progress_callback=note)
            print(json.dumps({
                "protocol": client.protocol_version,
                "tools": [each.name for each in tools],
                "text": "".join(block.text for block in result.content if block.type == "text"),
                "is_error": bool(result.is_error),
                "progress": progress,
            }))


asyncio.run(main(*sys.argv[1:]))
