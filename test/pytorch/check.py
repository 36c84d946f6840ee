"""Checks this package's output with real PyTorch, safetensors, onnx and onnxruntime, whichever are installed.

    python check.py JOB.json        → one JSON array on stdout: [{"case", "check", "ok", "detail"}]

JOB.json is written by test/pytorch/interop.test.ts. A check that cannot run here (module or torch feature missing)
has "ok": null and says what was missing. Works with PyTorch 1.13 and 2.x.
"""

import hashlib
import json
import sys
import warnings
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))
import repvgg  # noqa: E402  (also what train.pth of whole-module fixtures was pickled from)

warnings.filterwarnings("ignore")
RESULTS = []
DTYPES = {torch.float32: "float32", torch.float16: "float16", torch.bfloat16: "bfloat16", torch.float64: "float64"}
DTYPES.update({torch.int64: "int64", torch.int32: "int32", torch.uint8: "uint8", torch.bool: "bool"})
UNIT_ROUNDOFF = {"float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}
# Half the smallest subnormal: what one rounding may add near zero.
SMALLEST_HALF = {"float32": 2.0**-150, "float16": 2.0**-25, "bfloat16": 2.0**-134}
# Random roundings of the exact weights that make the noise floor, and the margin over the largest of them:
# eight samples of a sum of many independent roundings come within a factor of 4 of its practical maximum.
NOISE_SAMPLES, NOISE_MARGIN = 8, 4
# Two correct float32 runs differ by the order of their sums; a factor of 8 between such errors is common.
RUN_MARGIN = 8
# The same weights in float64, summed by another thread count or PyTorch version.
SAME_WEIGHTS = 1e-12


class Missing(Exception):
    pass


def check(case, name, run):
    try:
        detail = run()
        RESULTS.append({"case": case, "check": name, "ok": True, "detail": detail or ""})
    except Missing as error:
        RESULTS.append({"case": case, "check": name, "ok": None, "detail": str(error)})
    except Exception as error:  # a check that breaks is a check that failed
        RESULTS.append({"case": case, "check": name, "ok": False, "detail": f"{type(error).__name__}: {error}"})


def need(module):
    try:
        return __import__(module, fromlist=["x"])
    except ImportError:
        raise Missing(f"no module {module}") from None


def raw(tensor):
    tensor = tensor.detach().contiguous()
    return (tensor.view(torch.int16) if tensor.dtype == torch.bfloat16 else tensor).numpy().tobytes()


def same_tensors(state, expected):
    """Names in order, dtypes, shapes and every byte."""
    assert list(state) == list(expected), f"names differ: {first_difference(list(state), list(expected))}"
    for name, tensor in state.items():
        want = expected[name]
        got = {"dtype": DTYPES[tensor.dtype], "shape": list(tensor.shape)}
        got["sha256"] = hashlib.sha256(raw(tensor)).hexdigest()
        assert got == want, f"{name}: {got} in Python, {want} reported"
    return f"{len(expected)} tensors"


def first_difference(got, want):
    for a, b in zip(got, want):
        if a != b:
            return f"{a} in Python, {b} reported"
    return f"{len(got)} in Python, {len(want)} reported"


def safe_load(path, **options):
    return torch.load(path, map_location="cpu", weights_only=True, **options)


def unwrapped(state, prefix):
    assert all(name.startswith(prefix) for name in state), f"not every name starts with {prefix}"
    return {name[len(prefix) :]: tensor for name, tensor in state.items()}


def relative(got, want):
    return float(np.linalg.norm(got - want) / np.linalg.norm(want))


class Case:
    def __init__(self, job):
        folder = Path(job["fixture"])
        self.job, self.name = job, job["case"]
        self.record = json.loads((folder / "case.json").read_text())
        self.x = torch.from_numpy(np.load(folder / "x.npy"))
        self.truth = np.load(folder / f"y_train_f64{job['suffix']}.npy")
        loaded = torch.load(folder / "train.pth", map_location="cpu", **unsafe())
        self.train_state = loaded.state_dict() if isinstance(loaded, torch.nn.Module) else loaded
        if job["key"]:
            self.train_state = loaded[job["key"]]
        self.dtype = self.record["checkpoint"]["dtype"]
        self.floor = None

    def deploy_net(self, state):
        net = repvgg.RepVGG(self.record["arch"], deploy=True)
        net.load_state_dict(state, strict=True)
        return net.eval()

    def training_net(self, state):
        net = repvgg.RepVGG(self.record["arch"], eps=self.record["epsilon"])
        net.load_state_dict(state, strict=True)
        return net.eval()

    def run_deploy(self, state):
        return self.run_double(self.deploy_net(state).double(), state)

    def run_training(self, state):
        return self.run_double(self.training_net(state).double(), state)

    def run_double(self, net, state):
        net.load_state_dict(state, strict=True)  # again: now as float64, whatever the state's dtype is
        with torch.no_grad():
            return net(self.x.double()).numpy()

    def noise_floor(self):
        """Largest output error over random one-rounding changes of the exact fused weights, all in float64."""
        if self.floor is not None:
            return self.floor
        train = self.training_net(unwrapped(self.train_state, self.job["prefix"]))
        exact = repvgg.exact_deploy_state(train)
        generator = torch.Generator().manual_seed(7)
        unit = UNIT_ROUNDOFF[self.dtype]
        worst = 0.0
        for _ in range(NOISE_SAMPLES):
            noisy = {
                k: v * (1 + unit * (2 * torch.rand(v.shape, generator=generator, dtype=torch.float64) - 1))
                if "rbr_reparam" in k
                else v
                for k, v in exact.items()
            }
            worst = max(worst, relative(self.run_deploy(noisy), self.truth))
        self.floor = worst
        return worst

    def checks(self):
        job, name = self.job, self.name
        if "train" in job:
            check(name, "train.pth reads as torch.load reads it", lambda: same_tensors(self.train_state, job["train"]))
        for output in job["outputs"]:
            label = "{form} form as .{format}".format(**output)
            getattr(self, "check_" + output["format"])(label, output)

    def check_pth(self, label, output):
        name, path, tensors = self.name, output["path"], output["tensors"]
        check(name, label + ": torch.load(weights_only=True), bit by bit", lambda: same_tensors(safe_load(path), tensors))

        def mmap():
            if tuple(int(part) for part in torch.__version__.split(".")[:2]) < (2, 1):
                raise Missing(f"torch {torch.__version__} has no mmap")
            return same_tensors(safe_load(path, mmap=True), tensors)

        check(name, label + ": torch.load(mmap=True), bit by bit", mmap)

        def outputs():
            state = unwrapped(safe_load(path), self.job["prefix"])
            if output["form"] == "training":
                error, bound = relative(self.run_training(state), self.truth), SAME_WEIGHTS
            else:
                error, bound = relative(self.run_deploy(state), self.truth), NOISE_MARGIN * self.noise_floor()
            assert error <= bound, f"relative L2 error {error:.2e}, bound {bound:.2e}"
            return f"relative L2 error {error:.2e}, bound {bound:.2e}"

        def roundings():
            state = unwrapped(safe_load(path), self.job["prefix"])
            exact = repvgg.exact_deploy_state(self.training_net(unwrapped(self.train_state, self.job["prefix"])))
            worst = 0.0
            for key, want in exact.items():
                away = (state[key].double() - want).abs()
                unit = UNIT_ROUNDOFF[self.dtype] * want.abs() + SMALLEST_HALF[self.dtype]
                worst = max(worst, float((away / unit).max()))
            # Both sides compute in float64; the last bits of that may decide a tie.
            assert worst <= 1 + 1e-6, f"{worst:.3f} roundings from exact"
            return f"{worst:.3f} roundings from exact"

        if output["form"] == "deploy":
            check(name, label + ": every weight within one rounding of exact", roundings)
        check(name, label + ": load_state_dict(strict=True), outputs in float64", outputs)

    def check_safetensors(self, label, output):
        def load():
            state = need("safetensors.torch").load_file(output["path"])
            assert sorted(state) == sorted(output["tensors"]), "names differ"
            return same_tensors({name: state[name] for name in output["tensors"]}, output["tensors"])

        check(self.name, label + ": load_file, bit by bit", load)

    def check_onnx(self, label, output):
        path = output["path"]

        def checker():
            onnx = need("onnx")
            onnx.checker.check_model(path, full_check=True)

        def outputs():
            ort = need("onnxruntime")
            session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
            feed = session.get_inputs()[0]
            x = self.x.numpy().astype(np.float16 if feed.type == "tensor(float16)" else np.float32)
            error = relative(session.run(None, {feed.name: x})[0].astype(np.float64), self.truth)
            net = self.training_net(unwrapped(self.train_state, self.job["prefix"])).float()
            with torch.no_grad():
                run = relative(net(self.x).double().numpy(), self.truth)
            bound = RUN_MARGIN * max(run * UNIT_ROUNDOFF[self.dtype] / UNIT_ROUNDOFF["float32"], self.noise_floor())
            assert error <= bound, f"relative L2 error {error:.2e}, bound {bound:.2e}"
            return f"relative L2 error {error:.2e}, bound {bound:.2e}"

        check(self.name, label + ": onnx.checker, full check", checker)
        check(self.name, label + ": onnxruntime's outputs", outputs)


def unsafe():
    """Whole modules need the full unpickler; these files are our own. Before 1.13 there was nothing else."""
    return {"weights_only": False}


def main():
    torch.set_num_threads(2)
    for job in json.loads(Path(sys.argv[1]).read_text()):
        try:
            case = Case(job)
        except Exception as error:
            RESULTS.append({"case": job["case"], "check": "loads", "ok": False, "detail": f"{type(error).__name__}: {error}"})
            continue
        case.checks()
    json.dump(RESULTS, sys.stdout)


if __name__ == "__main__":
    main()
