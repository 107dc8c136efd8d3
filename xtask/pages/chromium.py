"""Opens a page in headless Chromium and looks at it: prints what happened as JSON, and takes pictures.

    python chromium.py CHROMIUM PAGE [--sort N] [--table N] [--shot FILE WIDTH SCHEME HEIGHT]...

Speaks the DevTools protocol through aiohttp, which the tests' environment has for other reasons. HEIGHT 0
is the whole page. What is sorted and searched is table N, the last one if it is not given. The JSON says: console messages, requests, tables, the first column before and after the
button of column N was pressed by the keyboard, aria-sort, and whether the page is wider than its window."""

import argparse
import asyncio
import base64
import json
import pathlib
import subprocess
import tempfile

import aiohttp

LOOK = """(() => {
  const tables = [...document.querySelectorAll('table')], table = tables.at(TABLE);
  const column = at => [...table.tBodies[0].rows].map(row => row.cells[at].textContent);
  const shown = () => [...table.tBodies[0].rows].filter(row => !row.hidden).length;
  const head = table.querySelectorAll('thead th')[SORT];
  const before = column(SORT);
  head.querySelector('button').focus();
  const focused = document.activeElement === head.querySelector('button');
  head.querySelector('button').click();
  const once = column(SORT), first = head.getAttribute('aria-sort');
  head.querySelector('button').click();
  const twice = column(SORT), second = head.getAttribute('aria-sort');
  const long = tables.filter(table => table.tBodies[0].rows.length >= 25);
  const field = document.querySelectorAll('input[type=search]')[long.indexOf(table)];
  let found = null;
  if (field) {
    field.value = table.tBodies[0].rows[0].cells[0].textContent;
    field.dispatchEvent(new Event('input'));
    found = shown();
    field.value = '';
    field.dispatchEvent(new Event('input'));
  }
  return {before, once, first, twice, second, focused, found, rows: shown(),
    tables: document.querySelectorAll('table').length,
    charts: document.querySelectorAll('svg[role=img] > title').length,
    scripts: document.scripts.length,
    harmed: typeof window.harmed !== 'undefined',
    handlers: document.querySelectorAll('[onerror],[onload],[onclick]').length,
    overflow: document.documentElement.scrollWidth > window.innerWidth};
})()"""


class Tab:
    """A page's DevTools connection: commands are answered in any order, events are kept."""

    def __init__(self, socket):
        self.socket, self.number, self.events = socket, 0, []

    async def call(self, method, **params):
        self.number += 1
        await self.socket.send_json({"id": self.number, "method": method, "params": params})
        while True:
            message = await asyncio.wait_for(self.socket.receive_json(), 60)
            if message.get("id") == self.number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return message["result"]
            self.events.append(message)

    async def until(self, method):
        while not any(event["method"] == method for event in self.events):
            self.events.append(await asyncio.wait_for(self.socket.receive_json(), 60))


async def look(arguments, port):
    async with aiohttp.ClientSession(trust_env=False) as session:
        async with session.put(f"http://127.0.0.1:{port}/json/new?about:blank") as answer:
            address = (await answer.json())["webSocketDebuggerUrl"]
        async with session.ws_connect(address, max_msg_size=0) as socket:
            tab = Tab(socket)
            for domain in ("Page", "Runtime", "Log", "Network"):
                await tab.call(f"{domain}.enable")
            await size(tab, 1280, "light")
            await tab.call("Page.navigate", url=pathlib.Path(arguments.page).resolve().as_uri())
            await tab.until("Page.loadEventFired")
            for file, width, scheme, height in arguments.shot:
                await size(tab, int(width), scheme)
                await picture(tab, file, int(width), int(height))
            await size(tab, 390, "light")
            narrow = await evaluate(tab, "document.documentElement.scrollWidth > window.innerWidth")
            await size(tab, 1280, "light")
            seen = await evaluate(tab, LOOK.replace("SORT", str(arguments.sort)).replace("TABLE", str(arguments.table)))
            seen["overflow_on_a_phone"] = narrow
            wrong = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
            seen["console"] = [json.dumps(e["params"])[:300] for e in tab.events if e["method"] in wrong]
            sent = [e["params"]["request"]["url"] for e in tab.events if e["method"] == "Network.requestWillBeSent"]
            seen["requests"] = [url[:80] for url in sent if not url.startswith(("data:", "about:"))]
            return seen


async def evaluate(tab, expression):
    answer = await tab.call("Runtime.evaluate", expression=expression, returnByValue=True)
    if "exceptionDetails" in answer:
        raise RuntimeError(json.dumps(answer["exceptionDetails"]))
    return answer["result"]["value"]


async def size(tab, width, scheme):
    await tab.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    await tab.call("Emulation.setEmulatedMedia", features=features)


async def picture(tab, file, width, height):
    whole = (await tab.call("Page.getLayoutMetrics"))["cssContentSize"]["height"]
    clip = {"x": 0, "y": 0, "width": width, "height": height or whole, "scale": 1}
    answer = await tab.call("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True)
    pathlib.Path(file).write_bytes(base64.b64decode(answer["data"]))


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("chromium")
    parser.add_argument("page")
    parser.add_argument("--sort", type=int, default=0)
    parser.add_argument("--table", type=int, default=-1)
    parser.add_argument("--shot", nargs=4, action="append", default=[])
    arguments = parser.parse_args()
    # The browser's own children may still write into it for a moment.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0", "--no-first-run",
                 "--disable-background-networking", "--disable-dev-shm-usage", f"--user-data-dir={profile}"]
        browser = subprocess.Popen([arguments.chromium, *flags, "about:blank"],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            port_file = pathlib.Path(profile, "DevToolsActivePort")
            for _ in range(600):
                if port_file.exists() and "\n" in port_file.read_text():
                    break
                if browser.poll() is not None:
                    raise RuntimeError(f"{arguments.chromium}: ended with {browser.returncode}")
                await asyncio.sleep(0.1)
            port = port_file.read_text().split("\n")[0]
            print(json.dumps(await look(arguments, port)))
        finally:
            browser.terminate()
            browser.wait()


asyncio.run(main())
