"""The fixed load: four clients that index and search over HTTP with gzip bodies, and count every error."""
import gzip
import http.client
import json
import random
import threading
from dataclasses import dataclass, field

INDEX = "words"
CLIENTS = 4
BULK_DOCUMENTS = 500
WORDS_PER_DOCUMENT = 120
REQUEST_SECONDS = 60
JSON = {"Content-Type": "application/json"}


@dataclass
class Served:
    """What the server answered."""
    documents: int = 0
    searches: int = 0
    errors: list[str] = field(default_factory=list)


class Client:
    """One connection that stays open."""

    def __init__(self, port: int, seconds: float = REQUEST_SECONDS) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)

    def ask(self, method: str, path: str, body: bytes | None = None, packed: bool = False) -> dict:
        """One request; an HTTP error is an OSError with the beginning of the answer."""
        headers = JSON | ({"Content-Encoding": "gzip"} if packed else {})
        try:
            self.connection.request(method, path, body, headers)
            answer = self.connection.getresponse()
            text = answer.read()
        except http.client.HTTPException as broken:
            raise OSError(f"{method} {path}: {type(broken).__name__} {broken}") from broken
        if answer.status >= 400:
            raise OSError(f"{method} {path}: status {answer.status}: {text[:200]!r}")
        return json.loads(text)


def is_ready(port: int) -> bool:
    """True when the server answers that its cluster can be used."""
    try:
        return Client(port, 5).ask("GET", "/_cluster/health").get("status") in ("green", "yellow")
    except OSError:
        return False


def apply(port: int, documents: int) -> Served:
    """Puts the whole load on the server and waits for the last answer."""
    served = Served()
    try:
        settings = {"settings": {"number_of_shards": 1, "number_of_replicas": 0, "refresh_interval": "1s"}}
        Client(port).ask("PUT", f"/{INDEX}", json.dumps(settings).encode())
    except OSError as refused:
        served.errors.append(str(refused))
        return served
    bulks = [make_bulk(seed) for seed in range(8)]
    each = documents // BULK_DOCUMENTS // CLIENTS
    lock = threading.Lock()
    threads = [threading.Thread(target=work, args=(port, each, number, bulks, served, lock))
               for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return served


def work(port: int, rounds: int, number: int, bulks: list[bytes], served: Served, lock: threading.Lock) -> None:
    """One client: a bulk request and a search, again and again."""
    client = Client(port)
    for turn in range(rounds):
        try:
            answer = client.ask("POST", f"/{INDEX}/_bulk", bulks[(turn + number) % len(bulks)], packed=True)
            if answer["errors"]:
                raise OSError(f"a bulk request had errors: {str(answer)[:200]}")
            word = random.Random(turn).choice(VOCABULARY)
            client.ask("POST", f"/{INDEX}/_search", json.dumps({"query": {"match": {"text": word}}}).encode())
        except OSError as refused:
            with lock:
                served.errors.append(str(refused))
            client = Client(port)
            continue
        with lock:
            served.documents += BULK_DOCUMENTS
            served.searches += 1


def make_vocabulary() -> list[str]:
    """The same 4,000 words in every run."""
    chance = random.Random(7)
    return ["".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=chance.randint(3, 12))) for _ in range(4000)]


def make_bulk(seed: int) -> bytes:
    """A compressed bulk body of about 1 KB a document, the same in every run."""
    chance = random.Random(seed)
    lines = []
    for number in range(BULK_DOCUMENTS):
        text = " ".join(chance.choices(VOCABULARY, k=WORDS_PER_DOCUMENT))
        lines += ['{"index":{}}', json.dumps({"number": number, "seed": seed, "text": text})]
    return gzip.compress(("\n".join(lines) + "\n").encode(), 6)


VOCABULARY = make_vocabulary()
