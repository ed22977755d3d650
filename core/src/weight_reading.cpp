#include "weight_reading.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <set>

namespace kml::reading {

constexpr int max_depth = 64;

[[noreturn]] void fail(const std::string& message) { throw WeightFileError(message); }

std::string quoted(const std::string& text) {
    std::string result = "'";
    for (char c : text.substr(0, 60))
        result += c >= 32 && c < 127 ? c : '?';
    return result + (text.size() > 60 ? "…'" : "'");
}

std::string shown(const json& value) {
    if (value.is_string())
        return quoted(value.get_ref<const std::string&>());
    if (value.is_structured())
        return value.is_array() ? "a list" : "an object";
    return value.dump();
}

json parse_json(const std::string& name, const char* begin, const char* end) {
    if (std::memchr(begin, 0, size_t(end - begin))) // where the parser would take the text to end
        fail("the " + name + " is not valid JSON: it holds a zero byte");
    if (end - begin >= 3 && !std::memcmp(begin, "\xEF\xBB\xBF", 3)) // which the parser would pass over
        fail("the " + name + " is not valid JSON: it starts with a byte order mark");
    std::vector<std::set<std::string>> keys;
    auto watch = [&](int depth, json::parse_event_t event, json& parsed) {
        const bool opens = event == json::parse_event_t::object_start || event == json::parse_event_t::array_start;
        if (depth + opens > max_depth)
            fail("the " + name + " is nested deeper than " + std::to_string(max_depth) + " levels");
        if (event == json::parse_event_t::object_start) {
            keys.emplace_back();
        } else if (event == json::parse_event_t::object_end) {
            keys.pop_back();
        } else if (event == json::parse_event_t::key) {
            const std::string& key = parsed.get_ref<const std::string&>();
            if (!keys.back().insert(key).second)
                fail("the " + name + " has the key " + quoted(key) + " twice in one object");
        }
        return true;
    };
    try {
        return json::parse(begin, end, watch);
    } catch (const json::exception& error) {
        fail("the " + name + " is not valid JSON: " + error.what());
    }
}

const json& field(const std::string& where, const json& object, const char* name) {
    const auto found = object.find(name);
    if (found == object.end())
        fail(where + " lacks the field '" + name + "'");
    return *found;
}

void check_keys(const std::string& where, const json& object, const std::vector<const char*>& names,
                const std::vector<const char*>& optional) {
    if (!object.is_object())
        fail(where + " must be a JSON object; " + shown(object) + " was found");
    for (const char* name : names)
        field(where, object, name);
    for (const auto& item : object.items()) {
        const std::string& key = item.key();
        const auto is_key = [&](const char* name) { return key == name; };
        const bool known =
            std::any_of(names.begin(), names.end(), is_key) || std::any_of(optional.begin(), optional.end(), is_key);
        if (!known && key.compare(0, 2, "x_") != 0)
            fail(where + " has the unknown field " + quoted(key));
    }
}

bool whole(const json& value, uint64_t most, uint64_t& result) {
    if (!value.is_number_unsigned()) // so is all that the parser reads without a sign
        return false;
    result = value.get<uint64_t>();
    return result <= most;
}

double finite(const std::string& name, const json& value, bool positive) {
    const double x = value.is_number() ? value.get<double>() : std::numeric_limits<double>::quiet_NaN();
    if (!std::isfinite(x) || (positive && x <= 0))
        fail(name + " must be a finite number" + (positive ? " above zero; " : "; ") + shown(value) + " was found");
    return x;
}

double number(const std::string& name, const json& value, double least, double most, double above) {
    const double x = value.is_number() ? value.get<double>() : std::numeric_limits<double>::quiet_NaN();
    if (std::isfinite(x) && x >= least && x <= most && x > above)
        return x;
    std::string text = name + " must be a number";
    const std::pair<const char*, double> bounds[] = {{" above ", above}, {" at least ", least}, {" at most ", most}};
    bool first = true;
    for (const auto& bound : bounds)
        if (std::isfinite(bound.second)) {
            text += (first ? "" : " and") + (bound.first + json(bound.second).dump());
            first = false;
        }
    fail(text + "; " + shown(value) + " was found");
}

double length(const std::string& name, const json& value, double least, double most) {
    const double x = value.is_number() ? value.get<double>() : std::numeric_limits<double>::quiet_NaN();
    if (!(x >= least && x <= most))
        fail(name + " must be a length from " + json(least).dump() + " to " + json(most).dump() + " Å; " +
             shown(value) + " was found");
    return x;
}

bool flag(const std::string& name, const json& value) {
    if (!value.is_boolean())
        fail(name + " must be true or false; " + shown(value) + " was found");
    return value.get<bool>();
}

// --- tensors

static std::string shape_text(const std::vector<uint64_t>& shape) {
    std::string text = "(";
    for (size_t k = 0; k < shape.size(); ++k)
        text += (k ? ", " : "") + std::to_string(shape[k]);
    return text + (shape.size() == 1 ? ",)" : ")");
}

Tensor parse_tensor(const std::string& name, const json& entry, uint64_t data_size) {
    const std::string where = "the tensor " + quoted(name);
    if (!entry.is_object() || entry.size() != 3)
        fail(where + " must have exactly the keys dtype, shape and data_offsets");
    Tensor tensor;
    const json& dtype = field(where, entry, "dtype");
    if (!dtype.is_string() || (dtype != "F64" && dtype != "I32"))
        fail(where + " has dtype " + shown(dtype) + "; F64 or I32 is expected");
    tensor.dtype = dtype.get<std::string>();
    const json& shape = field(where, entry, "shape");
    if (!shape.is_array() || shape.empty() || shape.size() > 6)
        fail(where + " must have a shape of one to six sizes");
    uint64_t bytes = tensor.dtype == "F64" ? 8 : 4;
    for (const json& size : shape) {
        uint64_t n;
        // bytes stays below the file's size, so that the product cannot overflow
        if (!whole(size, data_size, n) || n == 0 || n > data_size / bytes)
            fail(where + " has a size " + shown(size) +
                 " in its shape, which is not a size or more than the file holds");
        tensor.shape.push_back(n);
        bytes *= n;
    }
    const json& offsets = field(where, entry, "data_offsets");
    if (!offsets.is_array() || offsets.size() != 2 || !whole(offsets[0], data_size, tensor.begin) ||
        !whole(offsets[1], data_size, tensor.end) || tensor.begin > tensor.end)
        fail(where + " has data_offsets outside the file: the file is truncated or damaged");
    if (tensor.end - tensor.begin != bytes)
        fail(where + " has data_offsets of " + std::to_string(tensor.end - tensor.begin) +
             " bytes; its shape and dtype need " + std::to_string(bytes));
    return tensor;
}

void check_coverage(const Tensors& tensors, uint64_t data_size) {
    std::vector<std::pair<uint64_t, uint64_t>> spans;
    for (const auto& item : tensors.named)
        spans.emplace_back(item.second.begin, item.second.end);
    std::sort(spans.begin(), spans.end());
    uint64_t at = 0;
    for (const auto& span : spans) {
        if (span.first != at)
            fail("the data_offsets of the tensors overlap or leave a gap at byte " + std::to_string(at));
        at = span.second;
    }
    if (at != data_size)
        fail("the tensors end at byte " + std::to_string(at) + ", but the file holds " + std::to_string(data_size) +
             " bytes of data");
}

static Tensor& take(Tensors& tensors, const std::string& name, const char* dtype, const std::vector<uint64_t>& shape) {
    const auto found = tensors.named.find(name);
    if (found == tensors.named.end())
        fail("the tensor '" + name + "' is missing");
    Tensor& tensor = found->second;
    if (tensor.dtype != dtype)
        fail("the tensor '" + name + "' is " + tensor.dtype + "; " + dtype + " is expected");
    if (tensor.shape != shape)
        fail("the tensor '" + name + "' has shape " + shape_text(tensor.shape) + "; " + shape_text(shape) +
             " is expected");
    tensor.used = true;
    return tensor;
}

std::vector<double> take_reals(Tensors& tensors, const std::string& name, const std::vector<uint64_t>& shape) {
    const Tensor& tensor = take(tensors, name, "F64", shape);
    std::vector<double> values(size_t(tensor.end - tensor.begin) / 8);
    std::memcpy(values.data(), tensors.data + tensor.begin, values.size() * 8);
    for (double x : values)
        if (!std::isfinite(x))
            fail("the tensor '" + name + "' holds a number that is not finite");
    return values;
}

std::vector<int32_t> take_integers(Tensors& tensors, const std::string& name, const std::vector<uint64_t>& shape) {
    const Tensor& tensor = take(tensors, name, "I32", shape);
    std::vector<int32_t> values(size_t(tensor.end - tensor.begin) / 4);
    std::memcpy(values.data(), tensors.data + tensor.begin, values.size() * 4);
    return values;
}

const std::vector<uint64_t>& shape_of(const Tensors& tensors, const std::string& name, size_t n_sizes) {
    const auto found = tensors.named.find(name);
    if (found == tensors.named.end())
        fail("the tensor '" + name + "' is missing");
    if (found->second.shape.size() != n_sizes)
        fail("the tensor '" + name + "' has shape " + shape_text(found->second.shape) + "; " + std::to_string(n_sizes) +
             " sizes are expected");
    return found->second.shape;
}

} // namespace kml::reading
