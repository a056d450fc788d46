// SNAC's residual unit, forwards and backwards, on one core: see fast.py.
//
//     h = depthwise(snake(x, a1), w) + b        seven taps, `dilation` apart, zeros beyond the ends
//     y = x + matrix snake(h, a2) + bias
//
// All arrays are float32, contiguous: x, h, y (batch, channels, time), w (channels, 7), matrix
// (channels, channels). Channels are a multiple of 4 and time one of 64.

#include <algorithm>
#include <cstring>
#include <vector>

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

// y (rows, n) += a (rows, inner) x (inner, n); a is read at a[row * by_row + k * by_inner].
void multiply(const float* a, long by_row, long by_inner, const float* x, float* y, long rows,
              long inner, long n, std::vector<float>& panel) {
    panel.resize(inner * WIDE);
    for (long t = 0; t < n; t += WIDE) {
        for (long k = 0; k < inner; ++k)
            std::memcpy(&panel[k * WIDE], x + k * n + t, WIDE * sizeof(float));
        for (long m = 0; m < rows; m += 4) {
            V sums[4][4];
            for (int i = 0; i < 4; ++i)
                for (int j = 0; j < 4; ++j)
                    sums[i][j] = *(const V*)(y + (m + i) * n + t + j * LANES);
            for (long k = 0; k < inner; ++k) {
                const V* p = (const V*)&panel[k * WIDE];
                const V p0 = p[0], p1 = p[1], p2 = p[2], p3 = p[3];
                for (int i = 0; i < 4; ++i) {
                    const float w = a[(m + i) * by_row + k * by_inner];
                    sums[i][0] += w * p0;
                    sums[i][1] += w * p1;
                    sums[i][2] += w * p2;
                    sums[i][3] += w * p3;
                }
            }
            for (int i = 0; i < 4; ++i)
                for (int j = 0; j < 4; ++j) *(V*)(y + (m + i) * n + t + j * LANES) = sums[i][j];
        }
    }
}

// out (rows, columns) += a (rows, n) b (columns, n) transposed.
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
    std::vector<float> padded(n + 2 * pad, 0.0f), u(channels * n), panel;
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
        multiply(matrix, channels, 1, u.data(), y, channels, channels, n, panel);
    }
}

void unit_backward(const float* dy, const float* x, const float* h, const float* a1, const float* w,
                   const float* a2, const float* matrix, float* dx, float* da1, float* dw,
                   float* db, float* da2, float* dmatrix, float* dbias, long batch, long channels,
                   long n, long dilation) {
    const long pad = 3 * dilation;
    std::vector<float> s(n + 2 * pad, 0.0f), dh(n + 2 * pad, 0.0f), ds(n), u(channels * n),
        du(channels * n), panel;
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
        multiply(matrix, 1, channels, dy, du.data(), channels, channels, n, panel);
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

}  // extern "C"
