# SPDX-License-Identifier: Apache-2.0
"""Application ids of the programs themselves, as Debian packages them: gunicorn with and without a title of its own,
uvicorn, uwsgi by options and by file, celery, ruby. Each serves nothing and burns CPU."""
import os
import shutil
import subprocess

import lib
from test_identity import write
from test_windows import finish, log, profiles, started

SHOP = """
import threading
def burn():
    while True: sum(range(10000))
threading.Thread(target=burn, daemon=True).start()
def application(environ, start_response):
    start_response("200 OK", [])
    return [b""]
async def asgi(scope, receive, send):
    pass
"""
TASKS = SHOP + """
import celery
app = celery.Celery("tasks", broker="memory://")
"""


def python_has(module):
    return subprocess.run(["/usr/bin/python3", "-c", "import " + module], capture_output=True).returncode == 0


def python(*argv):
    return ["/usr/bin/python3", *argv]


def programs(app, titles):
    """{name: (arguments, application id)} of what is installed."""
    found = {}
    gunicorn = ["/usr/bin/gunicorn", "-b", f"unix:{app}/g.sock", "--threads", "1", "--graceful-timeout", "1", "shop:application"]
    if os.path.exists("/usr/bin/gunicorn"):
        found["gunicorn"] = (python(*gunicorn), f"gunicorn: shop:application ({app}/shop.py)")
        if titles:
            gunicorn[2] += "2"
            found["gunicorn by its title"] = (python(*gunicorn), f"gunicorn: shop:application ({app}/shop.py)")
    if os.path.exists("/usr/bin/uvicorn"):
        found["uvicorn"] = (python("/usr/bin/uvicorn", "--uds", f"{app}/u.sock", "shop:asgi"), f"uvicorn: shop:asgi ({app}/shop.py)")
    if shutil.which("uwsgi"):
        uwsgi = ["uwsgi", "--plugin", "python3", "--enable-threads", "--die-on-term", "--need-app", "--uwsgi-socket"]
        found["uwsgi"] = ([*uwsgi, f"{app}/w1.sock", "--wsgi-file", "shop.py"], f"uwsgi: shop.py ({app}/shop.py)")
        found["uwsgi by file"] = ([*uwsgi, f"{app}/w2.sock", "--ini", "shop.ini"], f"uwsgi: shop.ini ({app}/shop.py)")
    if python_has("celery"):
        found["celery"] = (python("-m", "celery", "-A", "tasks", "worker", "-P", "solo", "--without-gossip", "--without-mingle"),
                           f"celery: tasks ({app}/tasks.py)")
    if shutil.which("ruby"):
        found["ruby"] = (["ruby", "-r", "set", "fib.rb", "x"], f"ruby: fib.rb ({app}/fib.rb)")
    return found


def test_application_ids_of_real_programs():
    lib.need_root()
    app = os.path.realpath(lib.env.dir) + "/app"
    write("app/shop.py", SHOP)
    write("app/tasks.py", TASKS)
    write("app/shop.ini", "[uwsgi]\nmodule = shop\n")
    write("app/fib.rb", "def fib(n) = n < 2 ? n : fib(n - 1) + fib(n - 2)\nloop { fib(22) }\n")
    write("untitled/setproctitle.py", "raise ImportError\n")
    titles = python_has("setproctitle")
    found = programs(app, titles)
    missing = {"gunicorn", "uvicorn", "uwsgi", "celery", "ruby"} - set(found)
    if missing:
        lib.note("not installed: " + ", ".join(sorted(missing)))
    if not found:
        lib.skip("none of the programs is installed")
    running = {}
    for name, (argv, _) in found.items():
        environ = dict(os.environ, PYTHONDONTWRITEBYTECODE="1")
        if "title" not in name:
            environ["PYTHONPATH"] = os.path.join(lib.env.dir, "untitled")
        running[name] = lib.env.start(*argv, cwd=app, env=environ, stderr=subprocess.DEVNULL)
    agent = lib.start_gprofiler("-c", "-d", 2, "-f", 99, "--max-cpu", 0, "--no-flamegraph")
    started(agent)

    def seen(since=0):
        return {s.appid for path in profiles(agent)[since:] for s in lib.Profile(path).stacks if s.appid}

    wanted = {f"appid: {appid}" for _, appid in found.values()}
    ended = [name for name, p in running.items() if p.poll() is not None]
    assert not ended, ended
    lib.wait_for("the ids " + ", ".join(sorted(wanted)), lambda: wanted <= seen(), 90)
    if titles:
        # Both kinds have one id: the one with a title is what is left when the other is gone.
        running["gunicorn"].terminate()
        running["gunicorn"].wait(60)
        n = len(profiles(agent))
        lib.wait_for("a title", lambda: any("gunicorn: " in i for i in seen(n + 1)), 60)
    last = lib.Profile(profiles(agent)[-1])
    if "ruby" in found:
        meta = [m for m in last.header["application_metadata"] if m and "ruby_version" in m]
        said = subprocess.run(["ruby", "--version"], capture_output=True, text=True).stdout.strip()
        assert [m["ruby_version"] for m in meta] == [said], (meta, said)
    if "uwsgi" in found:
        versions = {m["python_version"] for m in last.header["application_metadata"] if m and m.get("exe", "").startswith("/usr/bin/uwsgi")}
        whole = subprocess.run(["/usr/bin/python3", "-V"], capture_output=True, text=True).stdout.strip()
        assert versions and versions <= {whole, whole.rsplit(".", 1)[0]}, (versions, whole)
    ended = [name for name, p in running.items() if p.poll() is not None and name != "gunicorn"]
    assert not ended, ended
    finish(agent)
    assert "] ERROR: " not in log(agent), log(agent)[-2000:]


if __name__ == "__main__":
    lib.main({n: f for n, f in globals().items() if getattr(f, "__module__", None) == __name__})
