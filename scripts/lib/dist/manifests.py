"""Whether examples/kubernetes fits the API: by the schemas that kubernetes-validate (PyPI) brings along.

Custom resources (ECK's Elasticsearch) have no schema there: their podTemplate is checked as the pod that it becomes.
"""
import subprocess
import sys
import tempfile
from pathlib import Path

from dist.tools import NotPossible
from trial.commands import run_showing
from trial.folders import REPOSITORY, cache
from trial.steps import Trouble

#: From PyPI; and the version of Kubernetes that has side containers by default.
VALIDATOR = "kubernetes-validate==1.37.0"
KUBERNETES = "1.29"

#: Runs in the validator's environment: prints a complaint for each document that does not fit.
SCRIPT = """
import copy, sys, yaml, kubernetes_validate as kv
version, files = sys.argv[1], sys.argv[2:]
checked = 0
for name in files:
    for document in yaml.safe_load_all(open(name)):
        kind = document['kind']
        if kind == 'Kustomization':
            continue
        if kind == 'Elasticsearch':
            spec = copy.deepcopy(document['spec']['nodeSets'][0]['podTemplate']['spec'])
            for container in spec['containers']:
                container.setdefault('image', 'x')
            document = {'apiVersion': 'v1', 'kind': 'Pod', 'metadata': {'name': 'x'}, 'spec': spec}
        if name.endswith('base/heaptap.yaml'):
            document['spec'].update(selector={'matchLabels': {'a': 'b'}})
            document['spec']['template']['metadata'] = {'labels': {'a': 'b'}}
        try:
            kv.validate(document, version, strict=True)
            checked += 1
        except kv.ValidationError as error:
            print(f'{name}: {".".join(map(str, error.path))}: {error.message}')
mounts = lambda spec: [(c['name'], m['name']) for c in spec['containers'] + spec.get('initContainers', []) for m in c.get('volumeMounts', [])]
pod = yaml.safe_load(open(next(name for name in files if name.endswith('pod.yaml'))))
known = {volume['name'] for volume in pod['spec']['volumes']}
for container, volume in mounts(pod['spec']):
    if volume not in known:
        print(f'pod.yaml: {container} mounts {volume}, which is no volume')
broken = copy.deepcopy(pod)
broken['spec']['containers'][0]['volumeMount'] = []
try:
    kv.validate(broken, version, strict=True)
    print('a misspelt field passes')
except kv.ValidationError:
    pass
print(checked, file=sys.stderr)
"""


def check() -> list[Path]:
    """Makes nothing, and complains of what does not fit."""
    folder = cache() / "manifest-tools"
    if not (folder / VALIDATOR).is_file():
        print(f"installing {VALIDATOR} into {folder}", flush=True)
        run_showing([sys.executable, "-m", "venv", folder])
        run_showing([folder / "bin" / "pip", "install", "--quiet", VALIDATOR, "pyyaml"])
        (folder / VALIDATOR).touch()
    files = sorted((REPOSITORY / "examples" / "kubernetes").rglob("*.yaml"))
    with tempfile.NamedTemporaryFile("w", suffix=".py") as script:
        script.write(SCRIPT)
        script.flush()
        done = subprocess.run([folder / "bin" / "python", script.name, KUBERNETES, *files], check=False,
                              capture_output=True, text=True)
    if done.returncode:
        raise NotPossible(f"{VALIDATOR}: {done.stderr.strip().splitlines()[-1]}")
    if done.stdout:
        raise Trouble(f"examples/kubernetes: {'; '.join(done.stdout.splitlines())}")
    return []
