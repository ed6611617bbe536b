"""OpenGL without a window: a figure under a light before a background, at twice the size and averaged down."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from maskanim.errors import MaskanimError, needs_extra
from maskanim.ops import Frame
from maskanim.spec import IMAGE_SIZE
from maskanim.train.people.assets import Floats, Pack, decode
from maskanim.train.people.figure import Figure, harmonics

SUPERSAMPLING = 2
TEXTURE_SIDE = 1024  # pixels; a face fills a third of a skin, and 200 pixels of a picture
MAP_SIDE = 512

# How bright each part is in the figure map, before its slope is counted. Those at most 100/255 = 0.39 are what P_test
# takes away with the released code's threshold: eyes, lips, brows and hair, which are the identity (section 3). The
# presets' 32/255 takes eyes and mouths alone.
LEVELS = dict(skin=0.85, eyes=0.0, teeth=0.6, tongue=0.2, eyelashes=0.15, eyebrows=0.2, hair=0.3, clothes=0.55)
LIPS, MOUTH = 0.3, 0.04
EYE_LEVELS = (0.12, 0.6)  # of the darkest and the brightest of an eye, so that gaze shows

_VERTEX = """
#version 330
uniform mat4 camera;
in vec3 place; in vec3 normal; in vec2 uv;
out vec3 at; out vec3 up; out vec2 where;
void main() { at = place; up = normal; where = vec2(uv.x, 1.0 - uv.y); gl_Position = camera * vec4(place, 1.0); }
"""

# Diffuse light: nine spherical harmonics of what is around, and two lamps that reach a little behind the horizon.
# The terms of the harmonics' irradiance are those of Ramamoorthi and Hanrahan (2001), with their factors in `around`.
_FRAGMENT = """
#version 330
uniform sampler2D picture, maps, other;
uniform vec3 around[9]; uniform vec3 lamp_to[2]; uniform vec3 lamp_colour[2];
uniform mat3 tint; uniform vec3 lift; uniform vec3 eye;
uniform float lips, mouth, level, share; uniform vec2 eye_levels;
uniform float cut, gloss, sharp; uniform int kind; uniform bool blended;
in vec3 at; in vec3 up; in vec2 where;
layout(location = 0) out vec4 colour; layout(location = 1) out vec4 truth;
vec3 irradiance(vec3 n) {
    return around[0] + around[1] * n.y + around[2] * n.z + around[3] * n.x + around[4] * (n.x * n.y)
         + around[5] * (n.y * n.z) + around[6] * (3.0 * n.z * n.z - 1.0) + around[7] * (n.x * n.z)
         + around[8] * (n.x * n.x - n.y * n.y);
}
void main() {
    vec4 texel = texture(picture, where);
    if (share > 0.0) texel = mix(texel, texture(other, where), share);
    if (kind >= 2 && (blended ? texel.a < 0.02 : texel.a < cut)) discard;
    vec3 view = normalize(eye - at), n = normalize(up);
    if (dot(n, view) < 0.0) n = -n;
    vec3 base = pow(clamp(tint * texel.rgb + lift, 0.0, 1.0), vec3(2.2));
    vec3 light = max(irradiance(n), 0.02), shine = vec3(0.0);
    for (int i = 0; i < 2; i++) {
        float faces = dot(n, lamp_to[i]);
        light += lamp_colour[i] * max(0.0, (faces + 0.25) / 1.25);
        shine += lamp_colour[i] * pow(max(0.0, dot(n, normalize(view + lamp_to[i]))), sharp) * step(0.0, faces);
    }
    float rim = pow(1.0 - max(0.0, dot(n, view)), 4.0);
    vec3 lit = base * light + gloss * (shine + 0.3 * rim * light);
    float figure = level;
    if (kind == 0) {
        vec2 marks = texture(maps, where).rg;
        figure = mix(figure, lips, marks.r);
        figure = mix(figure, mouth, marks.g);
        lit *= mix(1.0, 0.35, marks.g);
    }
    if (kind == 1) figure = mix(eye_levels.x, eye_levels.y, dot(texel.rgb, vec3(0.33)));
    float alpha = kind >= 2 ? (blended ? texel.a : 1.0) : 1.0;
    colour = vec4(pow(lit / (1.0 + 0.25 * lit) * 1.25, vec3(1.0 / 2.2)), alpha);
    truth = vec4(figure * (0.5 + 0.5 * abs(dot(n, view))), 1.0, 0.0, alpha);
}
"""

_KINDS = {"skin": 0, "eyes": 1}  # others have an alpha channel: 2
_SEE_THROUGH = ("eyelashes", "eyebrows", "hair")


class Look(NamedTuple):
    """How a part's texture is changed: mixed with another one, then rgb -> clip(tint @ rgb + lift)."""

    tint: Floats
    lift: Floats
    gloss: float = 0.0
    sharp: float = 20.0
    other: str = ""  # the key of a texture with the same uvs; only skins have one
    share: float = 0.0  # of the other one, in [0, 1]


class Light(NamedTuple):
    """What shines on a figure."""

    around: Floats  # (9, 3) float32, the coefficients of the irradiance's spherical harmonics, in linear light
    lamp_to: Floats  # (2, 3) float32, unit vectors towards the lamps
    lamp_colour: Floats  # (2, 3) float32, linear


class Rendered(NamedTuple):
    """One picture."""

    image: Frame  # (256, 256, 3) uint8 RGB
    figure: Floats  # (256, 256) float32 in [0, 1], the figure map before it is shrunk
    foreground: Floats  # (256, 256) float32 in [0, 1], how much of each pixel the figure covers


class Renderer:
    """An OpenGL context and the textures in it. One for a process.

    Args:
        pack: whose textures are drawn.

    Raises:
        MaskanimError: moderngl is not installed, or no OpenGL library is there.
    """

    def __init__(self, pack: Pack) -> None:
        with needs_extra("rendering people", "people"):
            import moderngl
        self._gl: Any = moderngl
        try:
            self.context: Any = self._gl.create_context(standalone=True, backend="egl", require=330)
        except Exception as error:  # whatever its loader raises
            raise MaskanimError(
                "rendering people",
                f"no OpenGL through EGL ({' '.join(str(error).split())})",
                "a driver, or Mesa's software renderer",
                "On Debian and Ubuntu: apt-get install libegl1 libgl1-mesa-dri",
            ) from error
        self.pack = pack
        self._program: Any = self.context.program(vertex_shader=_VERTEX, fragment_shader=_FRAGMENT)
        self._targets: list[Any] = []
        self._textures: dict[str, Any] = {}
        self._maps = self._upload(self._mouth_maps())
        self._program["maps"], self._program["other"] = 1, 2
        self._program["lips"], self._program["mouth"] = LIPS, MOUTH
        self._figure: Figure | None = None
        self._buffers: list[tuple[Any, Any]] = []

    def _mouth_maps(self) -> NDArray[np.uint8]:
        lips, mouth = (_texture_of(self.pack.textures[f"maps/{key}"], MAP_SIDE) for key in ("lips", "mouth"))
        return np.ascontiguousarray(np.stack([lips[..., 0], mouth[..., 0], *[np.zeros_like(lips[..., 0])] * 2], -1))

    def _upload(self, pixels: NDArray[np.uint8]) -> Any:
        texture = self.context.texture(pixels.shape[1::-1], pixels.shape[2], pixels.tobytes())
        texture.build_mipmaps()
        texture.filter = (self._gl.LINEAR_MIPMAP_LINEAR, self._gl.LINEAR)
        return texture

    def _texture(self, key: str) -> Any:
        if key not in self._textures:
            self._textures[key] = self._upload(_texture_of(self.pack.textures[key], TEXTURE_SIDE))
        return self._textures[key]

    def _show(self, figure: Figure) -> None:
        """Make the buffers of a figure's parts."""
        for pair in self._buffers:
            for each in pair:
                each.release()
        self._figure, self._buffers = figure, []
        for part in figure.parts:
            moving = self.context.buffer(reserve=len(part.points) * 24, dynamic=True)
            fixed, index = (self.context.buffer(array.tobytes()) for array in (part.uvs, part.triangles.astype("i4")))
            content = [(moving, "3f 3f", "place", "normal"), (fixed, "2f", "uv")]
            self._buffers.append((moving, self.context.vertex_array(self._program, content, index)))

    def _target(self, slot: int) -> Any:
        """One of the pictures that are drawn before the first of them is read."""
        side = IMAGE_SIZE * SUPERSAMPLING
        while len(self._targets) <= slot:
            planes = [self.context.texture((side, side), 4) for _ in range(2)]
            depth = self.context.depth_renderbuffer((side, side))
            self._targets.append(self.context.framebuffer(planes, depth))
        return self._targets[slot]

    def draw(
        self,
        slot: int,
        figure: Figure,
        points: Floats,
        normals: Floats,
        looks: Mapping[str, Look],
        light: Light,
        camera: NDArray[np.float64],
        eye: NDArray[np.float64],
    ) -> None:
        """Draw one picture, and do not wait for it: processes that share a GPU wait for their turn at every read.

        Args:
            slot: which of the pictures of a clip; `read` takes the same.
            points, normals: of `Figure.posed`.
            looks: by the kind of part.
            light: what shines on it.
            camera: (4, 4), from decimetres to clip space.
            eye: (3,), where the camera is.
        """
        if figure is not self._figure:
            self._show(figure)
        gl, program, target = self._gl, self._program, self._target(slot)
        for part, (moving, _) in zip(figure.parts, self._buffers, strict=True):
            moving.orphan()  # the last picture may still need what was in it
            moving.write(np.concatenate([points[part.points], normals[part.points]], 1).astype(np.float32).tobytes())
        program["eye"] = tuple(eye)
        for name, values in {"camera": camera.T, **light._asdict()}.items():
            program[name].write(values.astype(np.float32).tobytes())
        target.use()
        target.clear(0, 0, 0, 0)
        self._maps.use(1)
        self.context.enable_only(gl.DEPTH_TEST)
        for blended in (False, True):
            if blended:
                self.context.enable(gl.BLEND)
                self.context.blend_func = gl.SRC_ALPHA, gl.ONE_MINUS_SRC_ALPHA, gl.ONE, gl.ONE_MINUS_SRC_ALPHA
                target.depth_mask = False
            for part, (_, array) in zip(figure.parts, self._buffers, strict=True):
                if not blended or part.kind in _SEE_THROUGH:
                    self._draw_part(part.kind, part.texture, array, looks[part.kind], blended)
        target.depth_mask = True

    def _draw_part(self, kind: str, texture: str, array: Any, look: Look, blended: bool) -> None:
        program = self._program
        program["kind"], program["blended"] = _KINDS.get(kind, 2), blended
        program["cut"] = 0.55 if kind in _SEE_THROUGH else 0.05
        program["level"], program["eye_levels"] = LEVELS[kind], EYE_LEVELS
        program["tint"].write(look.tint.T.astype(np.float32).tobytes())
        program["lift"], program["gloss"], program["sharp"] = tuple(look.lift), look.gloss, look.sharp
        program["share"] = look.share
        self._texture(texture).use(0)
        self._texture(look.other or texture).use(2)
        array.render()

    def read(self, slot: int, background: Frame) -> Rendered:
        """A picture that was drawn, before a background, (256, 256, 3) uint8 RGB."""
        side, target = IMAGE_SIZE * SUPERSAMPLING, self._target(slot)
        planes = [
            np.frombuffer(target.read(components=4, attachment=i), np.uint8).reshape(side, side, 4)[::-1]
            for i in range(2)
        ]
        colour, truth = (cv2.resize(plane, (IMAGE_SIZE,) * 2, interpolation=cv2.INTER_AREA) for plane in planes)
        foreground = truth[..., 3].astype(np.float32) / 255
        figure = truth[..., 0].astype(np.float32) / 255
        rest = (1 - foreground)[..., None]
        # Drawn over nothing, colours have been weighted by what covers the pixel already.
        image = colour[..., :3] + rest * background
        return Rendered(np.clip(image + 0.5, 0, 255).astype(np.uint8), figure, foreground)


def _texture_of(data: bytes, side: int) -> NDArray[np.uint8]:
    """A picture as RGBA, at most so large."""
    pixels = decode(data)
    if pixels.shape[2] == 3:
        pixels = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2RGBA), np.uint8)
    if max(pixels.shape[:2]) > side:
        pixels = np.asarray(cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA), np.uint8)
    return np.ascontiguousarray(pixels)


def irradiance(panorama: Floats, turn: float) -> Floats:
    """(9, 3): an equirectangular picture's irradiance as spherical harmonics, for the terms in the shader.

    Args:
        panorama: (H, W, 3) float32, linear light.
        turn: radians, which column lies behind the figure's back.

    Source: Ramamoorthi and Hanrahan, *An Efficient Representation for Irradiance Environment Maps* (2001).
    """
    height, width = panorama.shape[:2]
    theta = (np.arange(height) + 0.5) / height * np.pi
    phi = (np.arange(width) + 0.5) / width * 2 * np.pi + turn
    x, z = np.sin(theta)[:, None] * np.sin(phi), -np.sin(theta)[:, None] * np.cos(phi)
    y = np.broadcast_to(np.cos(theta)[:, None], x.shape)
    terms = harmonics(x, y, z)
    area = np.broadcast_to(np.sin(theta)[:, None] * (np.pi / height) * (2 * np.pi / width), x.shape)
    # Squared normalisations of the harmonics times the cosine lobe's factors over pi: 1, 2/3 and 1/4.
    factors = np.array([1, *[2] * 3, *[15 / 4] * 2, 5 / 16, 15 / 4, 15 / 16]) / (4 * np.pi)
    sums: Floats = np.einsum("hwk,hwc,hw->kc", terms, panorama, area)
    return (sums * factors[:, None]).astype(np.float32)
