"""Whether examples/kubernetes fits the API: what kustomize makes of the base, and each file, judged by kubeconform.

kubeconform would load its schemas from the network; here it gets those that kubernetes-validate (PyPI) brings along, in
which a field that the API does not know is an error. Custom resources (ECK's Elasticsearch) have no schema there: their
podTemplate is checked as the pod that it becomes.
"""
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from dist import tools
from trial.commands import clean_environment, run, run_showing
from trial.folders import REPOSITORY, cache
from trial.steps import Trouble

#: From PyPI: schemas, and a reader of YAML.
SCHEMAS = "kubernetes-validate==1.37.0"
#: The first version of Kubernetes that has side containers by default, and the newest that has a schema.
VERSIONS = ("1.29.0", "1.37.0")
EXAMPLES = REPOSITORY / "examples" / "kubernetes"

#: Runs in the environment of the schemas: YAML in files or on stdin, JSON out; of a custom resource its pod.
READER = """
import json, sys, yaml
found = []
for name in sys.argv[1:]:
    for document in yaml.safe_load_all(sys.stdin if name == '-' else open(name)):
        if document['kind'] == 'Elasticsearch':
            spec = document['spec']['nodeSets'][0]['podTemplate']['spec']
            for container in spec['containers']:
                container.setdefault('image', 'x')
            document = {'apiVersion': 'v1', 'kind': 'Pod', 'metadata': {'name': 'x'}, 'spec': spec}
        found.append(document)
print(json.dumps(found))
"""
#: Copies schemas of a version to a folder. Their names become those of files beside them: kubeconform follows no other.
COPIER = """
import json, pathlib, sys, kubernetes_validate
version, out = sys.argv[1], pathlib.Path(sys.argv[2])
folder = pathlib.Path(kubernetes_validate.__file__).parent / 'kubernetes-json-schema' / f'v{version}-local-strict'
out.mkdir(parents=True, exist_ok=True)
for name in ('_definitions', 'pod-v1', 'deployment-apps-v1'):
    schema = json.loads((folder / f'{name}.json').read_text().replace('/api/_definitions.json#', '_definitions.json#'))
    schema.pop('$id', None)
    (out / f'{name}.json').write_text(json.dumps(schema))
"""


def check() -> list[Path]:
    """Makes nothing, and complains of what does not fit."""
    kustomize, kubeconform = tools.go("kustomize"), tools.go("kubeconform")
    python = environment()
    built = run([kustomize, "build", EXAMPLES / "base"])
    documents = read(python, ["-"], built)
    documents += read(python, sorted(EXAMPLES.glob("*.yaml")))
    wrong = [complaint for document in documents for complaint in mounts(document)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number, document in enumerate(documents):
            (folder / f"{number}.json").write_text(json.dumps(document))
        for version in VERSIONS:
            need_schemas(python, version)
            wrong += misfits(kubeconform, version, folder, len(documents))
        misspelt = folder / "misspelt"
        misspelt.mkdir()
        text = json.dumps(documents[-1])
        (misspelt / "0.json").write_text(text.replace('"volumeMounts"', '"volumeMount"', 1))
        if not misfits(kubeconform, VERSIONS[0], misspelt, 1):
            wrong.append("a misspelt field passes")
    if wrong:
        raise Trouble(f"examples/kubernetes: {'; '.join(wrong)}")
    print(f"  {len(documents)} documents fit Kubernetes {' and '.join(VERSIONS)}, by kubeconform", flush=True)
    return []


def environment() -> Path:
    """A Python that has the schemas; installed once."""
    folder = cache() / "manifest-tools"
    if not (folder / SCHEMAS).is_file():
        print(f"installing {SCHEMAS} into {folder}", flush=True)
        try:
            run_showing([sys.executable, "-m", "venv", folder])
            run_showing([folder / "bin" / "pip", "install", "--quiet", SCHEMAS, "pyyaml"])
        except Trouble as trouble:
            raise tools.NotPossible(str(trouble)) from None
        (folder / SCHEMAS).touch()
    return folder / "bin" / "python"


def read(python: Path, files: list, stdin: str = "") -> list[dict]:
    """The documents in files of YAML."""
    done = subprocess.run([python, "-c", READER, *files], input=stdin, check=False, capture_output=True, text=True,
                          env=clean_environment())
    if done.returncode:
        raise Trouble(f"{files}: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout)


def schemas() -> Path:
    """Where the schemas lie, in a folder for each version as kubeconform calls it."""
    return cache() / "manifest-schemas" / SCHEMAS


def need_schemas(python: Path, version: str) -> None:
    """Puts those of a version there."""
    folder = schemas() / f"v{version}-strict"
    if not (folder / "deployment-apps-v1.json").is_file():
        run([python, "-c", COPIER, version, folder])


def misfits(kubeconform: Path, version: str, folder: Path, count: int) -> list[str]:
    """What kubeconform says against the documents of a folder."""
    location = schemas() / "{{.NormalizedKubernetesVersion}}{{.StrictSuffix}}" / "{{.ResourceKind}}{{.KindSuffix}}.json"
    files = [folder / f"{number}.json" for number in range(count)]
    command = [kubeconform, "-strict", "-summary", "-output", "json", "-kubernetes-version", version,
               "-schema-location", location, *files]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=clean_environment())
    answer = json.loads(done.stdout)
    wrong = [f"{found['kind']} {found['name']}: {found['msg']}" for found in answer.get("resources") or []]
    if done.returncode == 0 and answer["summary"]["valid"] != count:
        wrong.append(f"kubeconform judged {answer['summary']['valid']} of {count} documents")
    return wrong


def mounts(document: dict) -> list[str]:
    """Which containers mount what is no volume."""
    spec = document["spec"] if document["kind"] == "Pod" else document["spec"]["template"]["spec"]
    known = {volume["name"] for volume in spec["volumes"]}
    return [f"{container['name']} mounts {mount['name']}, which is no volume"
            for container in [*spec["containers"], *spec.get("initContainers", [])]
            for mount in container.get("volumeMounts", []) if mount["name"] not in known]
