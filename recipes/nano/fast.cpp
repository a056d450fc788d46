// SNAC's layers, forwards and backwards, on one core: see fast.py.
//
//     unit    h = depthwise(snake(x, a1), w) + b    seven taps, `dilation` apart, zeros outside
//             y = x + matrix snake(h, a2) + bias
//     noise   y = x + noise * matrix x
//     down    a convolution of stride s, 2 s taps and s / 2 zeros at each end; up, its transpose
//     last    a convolution of seven taps to one channel
//
// All arrays are float32, contiguous: x, h, y (batch, channels, time). Matrix products, of bfloat16
// where the processor has them, add up in float32. Channels are a multiple of 4, time one of 16.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>
#ifdef __AVX512BF16__
#include <immintrin.h>
#endif

namespace {

typedef float V __attribute__((vector_size(64), aligned(4)));
constexpr int LANES = 16, WIDE = 64, TAPS = 7;
constexpr float INVERSE_PI = 0.318309886183790671f;

// sin(pi f)^2 and sin(2 pi f) of angle / pi, by polynomials over half a turn; errors under 1e-6.
inline void squares(float angle, float& sine2, float& double_sine) {
    float f = angle * INVERSE_PI;
    f -= __builtin_rintf(f);
    const float z = f * f;
    const float s =
        f * (3.14159265f +
             z * (-5.16771278f +
                  z * (2.55016404f +
                       z * (-0.599264529f + z * (0.0821458866f + z * -0.00737043094f)))));
    const float c =
        1.0f +
        z * (-4.93480220f +
             z * (4.05871213f +
                  z * (-1.33526277f +
                       z * (0.235330630f + z * (-0.0258068914f + z * 0.00192957431f)))));
    sine2 = s * s;
    double_sine = 2.0f * s * c;
}

void snake(const float* x, float* out, long n, float a) {
    const float inverse = 1.0f / (a + 1e-9f);
    for (long t = 0; t < n; ++t) {
        float sine2, double_sine;
        squares(a * x[t], sine2, double_sine);
        out[t] = x[t] + inverse * sine2;
    }
}

// grad through snake at x: writes it to out (plus `more`, where given), and adds to that of a.
float unsnake(const float* grad, const float* x, const float* more, float* out, long n, float a) {
    const float inverse = 1.0f / (a + 1e-9f);
    float of_a = 0.0f;
    for (long t = 0; t < n; ++t) {
        float sine2, double_sine;
        squares(a * x[t], sine2, double_sine);
        of_a += grad[t] * inverse * (x[t] * double_sine - inverse * sine2);
        out[t] = grad[t] * (1.0f + a * inverse * double_sine) + (more ? more[t] : 0.0f);
    }
    return of_a;
}

#ifdef __AVX512BF16__

inline uint32_t rounded(float x) {
    uint32_t bits;
    std::memcpy(&bits, &x, 4);
    return bits + 0x7fff + ((bits >> 16) & 1);
}

// Two bfloat16 in a word, as the dot product wants them.
inline uint32_t pair(float first, float second) {
    return (rounded(first) >> 16) | (rounded(second) & 0xffff0000u);
}

constexpr long DEEP = 256;
using Words = std::vector<uint32_t>;

// 4 rows of y by WIDTH vectors, += over `pairs` pairs of inner.
template <int WIDTH>
void block(const uint32_t* a, const uint32_t* panel, float* y, long n, long pairs) {
    __m512 sums[4][WIDTH];
    for (int i = 0; i < 4; ++i)
        for (int j = 0; j < WIDTH; ++j) sums[i][j] = _mm512_loadu_ps(y + i * n + j * LANES);
    for (long k = 0; k < pairs; ++k) {
        __m512i p[WIDTH];
        for (int j = 0; j < WIDTH; ++j)
            p[j] = _mm512_loadu_si512(panel + (k * WIDTH + j) * LANES);
        for (int i = 0; i < 4; ++i) {
            const __m512i w = _mm512_set1_epi32(a[k * 4 + i]);
            for (int j = 0; j < WIDTH; ++j)
                sums[i][j] = _mm512_dpbf16_ps(sums[i][j], (__m512bh)w, (__m512bh)p[j]);
        }
    }
    for (int i = 0; i < 4; ++i)
        for (int j = 0; j < WIDTH; ++j) _mm512_storeu_ps(y + i * n + j * LANES, sums[i][j]);
}

template <int WIDTH>
void strip(const uint32_t* a, const float* x, float* y, long rows, long deep, long n,
           Words& panel) {
    constexpr int W = WIDTH * LANES;
    for (long k = 0; k < deep; k += 2)
        for (int j = 0; j < W; ++j) panel[k / 2 * W + j] = pair(x[k * n + j], x[(k + 1) * n + j]);
    for (long m = 0; m < rows; m += 4)
        block<WIDTH>(a + m * deep / 2, panel.data(), y + m * n, n, deep / 2);
}

// y (rows, n) += a (rows, inner) x (inner, n); a is read at a[row * by_row + k * by_inner].
void multiply(const float* a, long by_row, long by_inner, const float* x, float* y, long rows,
              long inner, long n) {
    Words panel(DEEP / 2 * WIDE), packed(rows * std::min(inner, DEEP) / 2);
    for (long from = 0; from < inner; from += DEEP) {
        const long deep = std::min(DEEP, inner - from);
        for (long m = 0; m < rows; m += 4)
            for (long k = 0; k < deep; k += 2)
                for (int i = 0; i < 4; ++i) {
                    const float* at = a + (m + i) * by_row + (from + k) * by_inner;
                    packed[(m * deep + k * 4) / 2 + i] = pair(at[0], at[by_inner]);
                }
        const float* part = x + from * n;
        long t = 0;
        for (; t + WIDE <= n; t += WIDE)
            strip<4>(packed.data(), part + t, y + t, rows, deep, n, panel);
        for (; t < n; t += LANES)
            strip<1>(packed.data(), part + t, y + t, rows, deep, n, panel);
    }
}

// out (rows, columns) += a (rows, n) b (columns, n) transposed.
void outer(const float* a, const float* b, float* out, long rows, long columns, long n) {
    constexpr long CHUNK = 1024;
    Words left(rows * CHUNK / 2), right(columns * CHUNK / 2);
    for (long from = 0; from < n; from += CHUNK) {
        const long length = std::min(n - from, CHUNK), words = (length + 31) / 32 * LANES;
        const auto pack = [&](const float* rows_of, long count, Words& to) {
            for (long i = 0; i < count; ++i) {
                const float* row = rows_of + i * n + from;
                uint32_t* words_of = &to[i * words];
                // Which two are paired does not matter, so long as both sides do the same.
                for (long w = 0; w < length / 2; ++w)
                    words_of[w] = pair(row[w], row[w + length / 2]);
                for (long w = length / 2; w < words; ++w) words_of[w] = 0;
            }
        };
        pack(a, rows, left);
        pack(b, columns, right);
        for (long i = 0; i < rows; i += 4)
            for (long j = 0; j < columns; j += 4) {
                __m512 sums[4][4] = {};
                for (long w = 0; w < words; w += LANES)
                    for (int l = 0; l < 4; ++l) {
                        const __m512i r = _mm512_loadu_si512(&right[(j + l) * words + w]);
                        for (int k = 0; k < 4; ++k)
                            sums[k][l] = _mm512_dpbf16_ps(
                                sums[k][l],
                                (__m512bh)_mm512_loadu_si512(&left[(i + k) * words + w]),
                                (__m512bh)r);
                    }
                for (int k = 0; k < 4; ++k)
                    for (int l = 0; l < 4; ++l)
                        out[(i + k) * columns + j + l] += _mm512_reduce_add_ps(sums[k][l]);
            }
    }
}

#else

template <int WIDTH>
void strip(const float* a, long by_row, long by_inner, const float* x, float* y, long rows,
           long inner, long n, std::vector<float>& panel) {
    constexpr int W = WIDTH * LANES;
    for (long k = 0; k < inner; ++k) std::memcpy(&panel[k * W], x + k * n, W * sizeof(float));
    for (long m = 0; m < rows; m += 4) {
        V sums[4][WIDTH];
        for (int i = 0; i < 4; ++i)
            for (int j = 0; j < WIDTH; ++j) sums[i][j] = *(const V*)(y + (m + i) * n + j * LANES);
        for (long k = 0; k < inner; ++k) {
            const V* p = (const V*)&panel[k * W];
            for (int i = 0; i < 4; ++i) {
                const float w = a[(m + i) * by_row + k * by_inner];
                for (int j = 0; j < WIDTH; ++j) sums[i][j] += w * p[j];
            }
        }
        for (int i = 0; i < 4; ++i)
            for (int j = 0; j < WIDTH; ++j) *(V*)(y + (m + i) * n + j * LANES) = sums[i][j];
    }
}

// As above.
void multiply(const float* a, long by_row, long by_inner, const float* x, float* y, long rows,
              long inner, long n) {
    std::vector<float> panel(inner * WIDE);
    long t = 0;
    for (; t + WIDE <= n; t += WIDE)
        strip<4>(a, by_row, by_inner, x + t, y + t, rows, inner, n, panel);
    for (; t < n; t += LANES)
        strip<1>(a, by_row, by_inner, x + t, y + t, rows, inner, n, panel);
}

// As above.
void outer(const float* a, const float* b, float* out, long rows, long columns, long n) {
    constexpr long CHUNK = 1024;
    for (long from = 0; from < n; from += CHUNK) {
        const long until = std::min(n, from + CHUNK);
        for (long i = 0; i < rows; i += 4)
            for (long j = 0; j < columns; j += 4) {
                V sums[4][4] = {};
                for (long t = from; t < until; t += LANES) {
                    V left[4], right[4];
                    for (int k = 0; k < 4; ++k) {
                        left[k] = *(const V*)(a + (i + k) * n + t);
                        right[k] = *(const V*)(b + (j + k) * n + t);
                    }
                    for (int k = 0; k < 4; ++k)
                        for (int l = 0; l < 4; ++l) sums[k][l] += left[k] * right[l];
                }
                for (int k = 0; k < 4; ++k)
                    for (int l = 0; l < 4; ++l) {
                        float sum = 0.0f;
                        for (int lane = 0; lane < LANES; ++lane) sum += sums[k][l][lane];
                        out[(i + k) * columns + j + l] += sum;
                    }
            }
    }
}

#endif

// columns (channels * 2 s, n / s) of x (channels, n): the taps that each output of `down` sees.
void unfold(const float* x, float* columns, long channels, long n, long s) {
    const long count = n / s, half = s / 2;
    std::vector<float> padded(n + s, 0.0f);
    for (long c = 0; c < channels; ++c) {
        std::memcpy(&padded[half], x + c * n, n * sizeof(float));
        for (long k = 0; k < 2 * s; ++k, columns += count)
            for (long j = 0; j < count; ++j) columns[j] = padded[j * s + k];
    }
}

// The transpose of `unfold`: adds columns up into x, which begins at each channel's `bias`.
void fold(const float* columns, const float* bias, float* x, long channels, long n, long s) {
    const long count = n / s, half = s / 2;
    std::vector<float> padded(n + s);
    for (long c = 0; c < channels; ++c) {
        std::fill(padded.begin(), padded.end(), bias ? bias[c] : 0.0f);
        for (long k = 0; k < 2 * s; ++k, columns += count)
            for (long j = 0; j < count; ++j) padded[j * s + k] += columns[j];
        std::memcpy(x + c * n, &padded[half], n * sizeof(float));
    }
}

void add_sums(const float* x, float* sums, long channels, long n) {
    for (long c = 0; c < channels; ++c) {
        float sum = 0.0f;
        for (long t = 0; t < n; ++t) sum += x[c * n + t];
        sums[c] += sum;
    }
}

}  // namespace

extern "C" {

void snake_forward(const float* x, const float* a, float* y, long batch, long channels, long n) {
    for (long row = 0; row < batch * channels; ++row)
        snake(x + row * n, y + row * n, n, a[row % channels]);
}

void snake_backward(const float* grad, const float* x, const float* a, float* dx, float* da,
                    long batch, long channels, long n) {
    for (long row = 0; row < batch * channels; ++row)
        da[row % channels] += unsnake(grad + row * n, x + row * n, nullptr, dx + row * n, n,
                                      a[row % channels]);
}

void unit_forward(const float* x, const float* a1, const float* w, const float* b, const float* a2,
                  const float* matrix, const float* bias, float* h, float* y, long batch,
                  long channels, long n, long dilation) {
    const long pad = 3 * dilation;
    std::vector<float> padded(n + 2 * pad, 0.0f), u(channels * n);
    for (long item = 0; item < batch; ++item, x += channels * n, h += channels * n,
              y += channels * n) {
        for (long c = 0; c < channels; ++c) {
            snake(x + c * n, &padded[pad], n, a1[c]);
            const float* taps = w + c * TAPS;
            const float* s = padded.data();
            float* out = h + c * n;
            for (long t = 0; t < n; ++t) {
                float sum = b[c];
                for (int k = 0; k < TAPS; ++k) sum += taps[k] * s[t + k * dilation];
                out[t] = sum;
            }
            snake(out, &u[c * n], n, a2[c]);
            for (long t = 0; t < n; ++t) y[c * n + t] = x[c * n + t] + bias[c];
        }
        multiply(matrix, channels, 1, u.data(), y, channels, channels, n);
    }
}

void unit_backward(const float* dy, const float* x, const float* h, const float* a1, const float* w,
                   const float*, const float* a2, const float* matrix, const float*, float* dx, float* da1, float* dw,
                   float* db, float* da2, float* dmatrix, float* dbias, long batch, long channels,
                   long n, long dilation) {
    const long pad = 3 * dilation;
    std::vector<float> s(n + 2 * pad, 0.0f), dh(n + 2 * pad, 0.0f), ds(n), u(channels * n),
        du(channels * n);
    for (long item = 0; item < batch; ++item, dy += channels * n, x += channels * n,
              h += channels * n, dx += channels * n) {
        for (long c = 0; c < channels; ++c) {
            snake(h + c * n, &u[c * n], n, a2[c]);
            float sum = 0.0f;
            for (long t = 0; t < n; ++t) sum += dy[c * n + t];
            dbias[c] += sum;
        }
        outer(dy, u.data(), dmatrix, channels, channels, n);
        std::fill(du.begin(), du.end(), 0.0f);
        multiply(matrix, 1, channels, dy, du.data(), channels, channels, n);
        for (long c = 0; c < channels; ++c) {
            const float* taps = w + c * TAPS;
            float* inner = &dh[pad];
            da2[c] += unsnake(&du[c * n], h + c * n, nullptr, inner, n, a2[c]);
            snake(x + c * n, &s[pad], n, a1[c]);
            float sum = 0.0f;
            for (long t = 0; t < n; ++t) sum += inner[t];
            db[c] += sum;
            for (int k = 0; k < TAPS; ++k) {
                const float* shifted = &s[k * dilation];
                float of_tap = 0.0f;
                for (long t = 0; t < n; ++t) of_tap += inner[t] * shifted[t];
                dw[c * TAPS + k] += of_tap;
            }
            const float* back = dh.data();
            for (long t = 0; t < n; ++t) {
                float total = 0.0f;
                for (int k = 0; k < TAPS; ++k) total += taps[k] * back[t + 2 * pad - k * dilation];
                ds[t] = total;
            }
            da1[c] += unsnake(ds.data(), x + c * n, dy + c * n, dx + c * n, n, a1[c]);
        }
    }
}

// down: x (batch, in, n) to y (batch, out, n / s), w (out, in, 2 s).
void down_forward(const float* x, const float* w, const float* b, float* y, long batch, long in,
                  long n, long out, long s) {
    const long count = n / s, taps = in * 2 * s;
    std::vector<float> columns(taps * count);
    for (long item = 0; item < batch; ++item, x += in * n, y += out * count) {
        unfold(x, columns.data(), in, n, s);
        for (long c = 0; c < out; ++c) std::fill(y + c * count, y + (c + 1) * count, b[c]);
        multiply(w, taps, 1, columns.data(), y, out, taps, count);
    }
}

void down_backward(const float* dy, const float* x, const float* w, const float*, float* dx, float* dw,
                   float* db, long batch, long in, long n, long out, long s) {
    const long count = n / s, taps = in * 2 * s;
    std::vector<float> columns(taps * count);
    for (long item = 0; item < batch; ++item, x += in * n, dx += in * n, dy += out * count) {
        add_sums(dy, db, out, count);
        unfold(x, columns.data(), in, n, s);
        outer(dy, columns.data(), dw, out, taps, count);
        std::fill(columns.begin(), columns.end(), 0.0f);
        multiply(w, 1, taps, dy, columns.data(), taps, out, count);
        fold(columns.data(), nullptr, dx, in, n, s);
    }
}

// up: x (batch, in, n) to y (batch, out, n * s), w (in, out, 2 s).
void up_forward(const float* x, const float* w, const float* b, float* y, long batch, long in,
                long n, long out, long s) {
    const long taps = out * 2 * s;
    std::vector<float> columns(taps * n);
    for (long item = 0; item < batch; ++item, x += in * n, y += out * n * s) {
        std::fill(columns.begin(), columns.end(), 0.0f);
        multiply(w, 1, taps, x, columns.data(), taps, in, n);
        fold(columns.data(), b, y, out, n * s, s);
    }
}

void up_backward(const float* dy, const float* x, const float* w, const float*, float* dx, float* dw, float* db,
                 long batch, long in, long n, long out, long s) {
    const long taps = out * 2 * s;
    std::vector<float> columns(taps * n);
    std::fill(dx, dx + batch * in * n, 0.0f);
    for (long item = 0; item < batch; ++item, x += in * n, dx += in * n, dy += out * n * s) {
        add_sums(dy, db, out, n * s);
        unfold(dy, columns.data(), out, n * s, s);
        outer(x, columns.data(), dw, in, taps, n);
        multiply(w, taps, 1, columns.data(), dx, in, taps, n);
    }
}

void noise_forward(const float* x, const float* matrix, const float* noise, float* y, long batch,
                   long channels, long n) {
    std::vector<float> v(channels * n);
    for (long item = 0; item < batch; ++item, x += channels * n, y += channels * n, noise += n) {
        std::fill(v.begin(), v.end(), 0.0f);
        multiply(matrix, channels, 1, x, v.data(), channels, channels, n);
        for (long c = 0; c < channels; ++c)
            for (long t = 0; t < n; ++t) y[c * n + t] = x[c * n + t] + noise[t] * v[c * n + t];
    }
}

void noise_backward(const float* dy, const float* x, const float* matrix, const float* noise,
                    float* dx, float* dmatrix, float*, long batch, long channels, long n) {
    std::vector<float> v(channels * n);
    std::memcpy(dx, dy, batch * channels * n * sizeof(float));
    for (long item = 0; item < batch; ++item, x += channels * n, dx += channels * n,
              dy += channels * n, noise += n) {
        for (long c = 0; c < channels; ++c)
            for (long t = 0; t < n; ++t) v[c * n + t] = dy[c * n + t] * noise[t];
        outer(v.data(), x, dmatrix, channels, channels, n);
        multiply(matrix, 1, channels, v.data(), dx, channels, channels, n);
    }
}

// last: x (batch, channels, n) to y (batch, 1, n), w (1, channels, 7).
void last_forward(const float* x, const float* w, const float* b, float* y, long batch,
                  long channels, long n) {
    std::vector<float> padded(n + TAPS - 1, 0.0f);
    for (long item = 0; item < batch; ++item, y += n) {
        std::fill(y, y + n, b[0]);
        for (long c = 0; c < channels; ++c, x += n) {
            std::memcpy(&padded[TAPS / 2], x, n * sizeof(float));
            const float* s = padded.data();
            const float* taps = w + c * TAPS;
            for (long t = 0; t < n; ++t) {
                float sum = 0.0f;
                for (int k = 0; k < TAPS; ++k) sum += taps[k] * s[t + k];
                y[t] += sum;
            }
        }
    }
}

void last_backward(const float* dy, const float* x, const float* w, const float*, float* dx, float* dw,
                   float* db, long batch, long channels, long n) {
    std::vector<float> padded(n + TAPS - 1, 0.0f), grad(n + TAPS - 1, 0.0f);
    for (long item = 0; item < batch; ++item, dy += n) {
        add_sums(dy, db, 1, n);
        std::memcpy(&grad[TAPS / 2], dy, n * sizeof(float));
        for (long c = 0; c < channels; ++c, x += n, dx += n) {
            std::memcpy(&padded[TAPS / 2], x, n * sizeof(float));
            const float* taps = w + c * TAPS;
            for (int k = 0; k < TAPS; ++k) {
                const float* s = &padded[k];
                float sum = 0.0f;
                for (long t = 0; t < n; ++t) sum += dy[t] * s[t];
                dw[c * TAPS + k] += sum;
            }
            const float* g = grad.data();
            for (long t = 0; t < n; ++t) {
                float sum = 0.0f;
                for (int k = 0; k < TAPS; ++k) sum += taps[k] * g[t + TAPS - 1 - k];
                dx[t] = sum;
            }
        }
    }
}

}  // extern "C"
