// Batch norm, an optional addition, and ReLU: y = max(0, w (x - mean) / sqrt(var + eps) + b + s added).
//
// A map of C channels lies channels_last, so it is a matrix of `pixels` rows and C columns, and is read in rows of
// LANES numbers: 64/C pixels at once, or 64 of the channels. Forward and backward read their maps twice each, once
// for sums over the pixels and once to write, and nothing between norm, addition and ReLU goes through memory or is
// rounded to bf16. Sums run over CHUNK rows in the width of the arithmetic and beyond that in double.
// One thread; no allocation; the caller (fused.py) sees to layout and sizes.

#include <cmath>
#include <cstdint>
#include <cstring>

#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__)
#define EACH_PROCESSOR __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define EACH_PROCESSOR
#endif
#define INLINE static inline __attribute__((always_inline)) // into each of the clones

namespace {

constexpr long LANES = 64;
constexpr long CHUNK = 128;

using bf16 = uint16_t; // its bits: as a struct they are not vectorised everywhere

template <class T> struct Arithmetic {
  using type = T;
};
template <> struct Arithmetic<bf16> {
  using type = float;
};
template <class T> using Wide = typename Arithmetic<T>::type;

INLINE float widened(float value) { return value; }
INLINE double widened(double value) { return value; }
INLINE float widened(bf16 value) {
  const uint32_t bits = uint32_t(value) << 16;
  float out;
  std::memcpy(&out, &bits, sizeof out);
  return out;
}

INLINE void put(float& at, float value) { at = value; }
INLINE void put(double& at, double value) { at = value; }
INLINE void put(bf16& at, float value) { // to the nearest, ties to even; a NaN stays one
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  const uint32_t rounded = bits + 0x7fff + (bits >> 16 & 1);
  at = ((bits & 0x7fffffff) > 0x7f800000 ? 0x7fc00000 : rounded) >> 16;
}

// The gradient before ReLU: that behind it, where its output is not 0 (a NaN lets it pass, as in torch).
template <class T> INLINE T passed(T output, T gradient) { return widened(output) <= 0 ? 0 : gradient; }

// How a map is walked through: `rows` of LANES numbers, each `stride` after the last; `per` channels in a row.
struct Walk {
  long rows, stride, per;
  Walk(long pixels, long channels)
      : rows(channels < LANES ? pixels * channels / LANES : pixels),
        stride(channels < LANES ? LANES : channels), per(channels < LANES ? channels : LANES) {}
};

template <class A, class B> INLINE void spread(const B* channel, long per, A* lanes) {
  for (long lane = 0; lane < LANES; lane++) lanes[lane] = A(channel[lane % per]);
}

INLINE double folded(const double* lanes, long per, long channel) {
  double sum = 0;
  for (long lane = channel; lane < LANES; lane += per) sum += lanes[lane];
  return sum;
}

// Of every lane, the sums of x - shift and of its square.
template <class T> INLINE void moments(const T* x, long rows, long stride, const Wide<T>* shift, double* sum, double* square) {
  for (long c = 0; c < LANES; c++) sum[c] = square[c] = 0;
  for (long row = 0; row < rows;) {
    const long end = row + CHUNK < rows ? row + CHUNK : rows;
    Wide<T> s[LANES] = {}, q[LANES] = {};
    for (; row < end; row++)
      for (long c = 0; c < LANES; c++) {
        const Wide<T> moved = widened(x[row * stride + c]) - shift[c];
        s[c] += moved;
        q[c] += moved * moved;
      }
    for (long c = 0; c < LANES; c++) sum[c] += s[c], square[c] += q[c];
  }
}

template <bool ADDED, class T>
INLINE void write(const T* __restrict x, const T* __restrict added, T* __restrict y, Walk walk, const Wide<T>* slope,
                  const Wide<T>* offset, Wide<T> scale) {
  for (long row = walk.rows; row-- > 0;)
    for (long c = 0; c < LANES; c++) {
      const long at = row * walk.stride + c;
      Wide<T> value = widened(x[at]) * slope[c] + offset[c];
      if (ADDED) value += scale * widened(added[at]);
      put(y[at], 0 > value ? 0 : value); // in this order, a NaN stays
    }
}

// With `mean` in training mode, and what backward needs goes there and to `inverse`; without it by the running
// statistics.
template <class T, class A = Wide<T>>
INLINE void forward(const T* x, const T* added, T* y, long pixels, long channels, const A* weight, const A* bias,
                    A* running_mean, A* running_var, A* mean, A* inverse, double eps, double momentum, double scale) {
  const Walk walk(pixels, channels);
  const long head = walk.rows < CHUNK ? walk.rows : CHUNK;
  for (long first = 0; first < channels; first += LANES) {
    const long per = walk.per;
    A shift[LANES] = {}, slope[LANES], offset[LANES];
    double sum[LANES], square[LANES], a[LANES], b[LANES];
    if (mean) {
      // The variance as a mean of squares loses what the mean is greater than the deviation: so first shift x to
      // near its mean, that of its first rows (Chan, Golub and LeVeque 1983).
      moments(x + first, head, walk.stride, shift, sum, square);
      for (long c = 0; c < per; c++) a[c] = folded(sum, per, c) / double(head * (LANES / per));
      spread(a, per, shift);
      moments(x + first, walk.rows, walk.stride, shift, sum, square);
    }
    for (long c = 0; c < per; c++) {
      const long channel = first + c;
      double m = running_mean[channel], variance = running_var[channel];
      if (mean) {
        const double moved = folded(sum, per, c) / double(pixels);
        const double difference = folded(square, per, c) / double(pixels) - moved * moved;
        m = shift[c] + moved, variance = difference < 0 ? 0 : difference;
        running_mean[channel] += A(momentum * (m - running_mean[channel]));
        running_var[channel] += A(momentum * (variance * pixels / double(pixels - 1) - running_var[channel]));
      }
      const double i = 1 / std::sqrt(variance + eps);
      if (mean) mean[channel] = A(m), inverse[channel] = A(i);
      a[c] = weight[channel] * i, b[c] = bias[channel] - m * a[c];
    }
    spread(a, per, slope), spread(b, per, offset);
    if (added)
      write<true>(x + first, added + first, y + first, walk, slope, offset, A(scale));
    else
      write<false>(x + first, added, y + first, walk, slope, offset, A(scale));
  }
}

// Of every lane, the sums of the gradient before ReLU and of its product with x - mean. That gradient is the one of
// the addition too: it is kept in `before` where that is asked for.
template <bool KEEP, class T>
INLINE void products(const T* __restrict x, const T* __restrict y, const T* __restrict dy, T* __restrict before, Walk walk,
                     const Wide<T>* mean, double* sum, double* product) {
  for (long c = 0; c < LANES; c++) sum[c] = product[c] = 0;
  for (long row = 0; row < walk.rows;) {
    const long end = row + CHUNK < walk.rows ? row + CHUNK : walk.rows;
    Wide<T> s[LANES] = {}, q[LANES] = {};
    for (; row < end; row++)
      for (long c = 0; c < LANES; c++) {
        const long at = row * walk.stride + c;
        const T gradient = passed(y[at], dy[at]);
        if (KEEP) before[at] = gradient;
        s[c] += widened(gradient);
        q[c] += widened(gradient) * (widened(x[at]) - mean[c]);
      }
    for (long c = 0; c < LANES; c++) sum[c] += s[c], product[c] += q[c];
  }
}

template <bool KEPT, class T>
INLINE void gradient(const T* __restrict x, const T* __restrict y, const T* __restrict dy, T* __restrict dx, Walk walk,
                     const Wide<T>* slope, const Wide<T>* tilt, const Wide<T>* offset) {
  for (long row = walk.rows; row-- > 0;)
    for (long c = 0; c < LANES; c++) {
      const long at = row * walk.stride + c;
      const T before = KEPT ? dy[at] : passed(y[at], dy[at]);
      put(dx[at], widened(before) * slope[c] + (widened(x[at]) * tilt[c] + offset[c]));
    }
}

// dx = w/sigma (g - mean(g) - (x - mean) mean(g (x - mean)) / sigma^2), as slope g + tilt x + offset.
template <class T, class A = Wide<T>>
INLINE void backward(const T* x, const T* y, const T* dy, T* before, T* dx, long pixels, long channels, const A* weight,
                     const A* mean, const A* inverse, A* dweight, A* dbias) {
  const Walk walk(pixels, channels);
  for (long first = 0; first < channels; first += LANES) {
    const long per = walk.per;
    A means[LANES], slope[LANES], tilt[LANES], offset[LANES];
    double sum[LANES], product[LANES], a[LANES], t[LANES], b[LANES];
    spread(mean + first, per, means);
    if (before)
      products<true>(x + first, y + first, dy + first, before + first, walk, means, sum, product);
    else
      products<false>(x + first, y + first, dy + first, before, walk, means, sum, product);
    for (long c = 0; c < per; c++) {
      const long channel = first + c;
      const double i = inverse[channel], s = folded(sum, per, c), q = folded(product, per, c);
      dbias[channel] = A(s), dweight[channel] = A(q * i);
      a[c] = weight[channel] * i;
      t[c] = -a[c] * i * i * q / double(pixels);
      b[c] = -a[c] * s / double(pixels) - mean[channel] * t[c];
    }
    spread(a, per, slope), spread(t, per, tilt), spread(b, per, offset);
    if (before)
      gradient<true>(x + first, y + first, before + first, dx + first, walk, slope, tilt, offset);
    else
      gradient<false>(x + first, y + first, dy + first, dx + first, walk, slope, tilt, offset);
  }
}

} // namespace

extern "C" const char* norm_relu_source() { return SOURCE_SHA256; } // by setup.py, of this file

#define ENTRIES(T, A, SUFFIX)                                                                                          \
  extern "C" EACH_PROCESSOR void norm_relu_##SUFFIX(                                                                   \
      const T* x, const T* added, T* y, long pixels, long channels, const A* weight, const A* bias, A* running_mean,   \
      A* running_var, A* mean, A* inverse, double eps, double momentum, double scale) {                                \
    forward(x, added, y, pixels, channels, weight, bias, running_mean, running_var, mean, inverse, eps, momentum,      \
            scale);                                                                                                    \
  }                                                                                                                    \
  extern "C" EACH_PROCESSOR void norm_relu_backward_##SUFFIX(                                                          \
      const T* x, const T* y, const T* dy, T* before, T* dx, long pixels, long channels, const A* weight,              \
      const A* mean, const A* inverse, A* dweight, A* dbias) {                                                         \
    backward(x, y, dy, before, dx, pixels, channels, weight, mean, inverse, dweight, dbias);                           \
  }

ENTRIES(bf16, float, bfloat16)
ENTRIES(float, float, float32)
ENTRIES(double, double, float64)
