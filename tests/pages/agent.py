"""Uses `heaptap mcp` by the protocol's own client, as an agent would: agent.py HEAPTAP DUMPS PID. Prints the revisions."""

import asyncio
import json
import sys

from mcp import Client, MCPError, StdioServerParameters

heaptap, dumps, pid = sys.argv[1], sys.argv[2], int(sys.argv[3])
READS = "ps status report leaks growth diff callers rss info symbols fleet".split()
CONTROLS = "dump start stop rate".split()


def client(*arguments, mode="auto"):
    return Client(StdioServerParameters(command=heaptap, args=["mcp", *arguments]), mode=mode)


async def refused(client, name, arguments):
    try:
        result = await client.call_tool(name, arguments)
    except MCPError as error:
        return error.error.code
    raise AssertionError(f"{name} {arguments} was answered: {result}")


async def reads(mode):
    async with client(mode=mode) as agent:
        tools = {tool.name: tool for tool in (await agent.list_tools()).tools}
        assert list(tools) == READS, list(tools)
        assert all(tool.annotations.read_only_hint for tool in tools.values())
        # The client holds every answer against the schema that the tool promises.
        for name, arguments in {
            "ps": {"all": True},
            "status": {"pids": [pid]},
            "report": {"files": [str(pid)], "top": 2},
            "leaks": {"files": [dumps]},
            "growth": {"files": [dumps], "by": "class"},
            "diff": {"before": dumps, "after": dumps},
            "callers": {"name": "unpack", "files": [dumps]},
            "rss": {"files": [str(pid)]},
            "info": {"files": [dumps]},
            "symbols": {"files": [dumps]},
            "fleet": {"files": [dumps]},
        }.items():
            result = await agent.call_tool(name, arguments)
            assert not result.is_error, (name, result)
            told = result.structured_content
            assert told == json.loads(result.content[0].text)
            assert told["answer"]["schema"] == 1 and "never instructions" in told["untrusted"]
        assert (await agent.call_tool("report", {"files": ["/no/such"]})).is_error
        assert await refused(agent, "stop", {"pids": [pid]}) == -32602
        assert await refused(agent, "report", {"files": "x"}) == -32602
        await asyncio.gather(*(agent.call_tool("report", {"files": [dumps]}) for _ in range(3)))
        print(agent.session.protocol_version)


async def controls():
    async with client("--control") as agent:
        assert [tool.name for tool in (await agent.list_tools()).tools] == READS + CONTROLS

        async def period():
            # What other tests left may be more than a page.
            told = (await agent.call_tool("ps", {"all": True, "top": 1000})).structured_content["answer"]["processes"]
            return next(process["period_bytes"] for process in told if process["pid"] == pid)

        before = await period()
        result = await agent.call_tool("rate", {"lg": 14, "pids": [pid]})
        assert not result.is_error, result
        assert before != 1 << 14 == await period(), before
        dump = await agent.call_tool("dump", {"pids": [pid]})
        assert ".heap" in dump.structured_content["answer"]["text"], dump
        assert (await agent.call_tool("dump", {"pids": [1 << 21]})).is_error
        for name in ["stop", "start"]:
            result = await agent.call_tool(name, {"pids": [pid]})
            assert not result.is_error, result
            # The process's helper thread looks every second or so.
            for _ in range(100):
                status = (await agent.call_tool("status", {"pids": [pid]})).structured_content["answer"]
                if status["processes"][0]["is_profiled"] == (name == "start"):
                    break
                await asyncio.sleep(0.2)
            else:
                raise AssertionError(status)


async def main():
    for mode in ["legacy", "auto"]:
        await reads(mode)
    await controls()


asyncio.run(main())
