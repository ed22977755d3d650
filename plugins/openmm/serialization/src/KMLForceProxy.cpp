#include "KMLForceProxy.h"
#include "encoding.h"
#include "openmm/OpenMMException.h"
#include "openmm/serialization/SerializationNode.h"
#include "openmmkml/internal/Engine.h"
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <locale>
#include <memory>
#include <sstream>

using namespace OpenMM;
using namespace OpenMMKML;
using namespace std;

namespace {

constexpr int VERSION = 3; // 2: may have <Numbers>; 3: may have another output than the energy

[[noreturn]] void refuse(const string& sentence) {
    throw OpenMMException("KMLForce: the serialized force " + sentence);
}

/** Text of a property that has to be there. */
string readText(const SerializationNode& node, const string& name) {
    if (!node.hasProperty(name))
        refuse("has no '" + name + "' in its <" + node.getName() + "> element");
    return node.getStringProperty(name);
}

/** A whole number; OpenMM's own reader takes the digits that it finds and forgives the rest. */
long long readInteger(const SerializationNode& node, const string& name, long long smallest, long long largest) {
    const string text = readText(node, name);
    char* end = nullptr;
    errno = 0;
    const long long value = strtoll(text.c_str(), &end, 10);
    if (text.empty() || *end != 0 || errno != 0 || value < smallest || value > largest)
        refuse("has " + name + "=\"" + text.substr(0, 40) + "\" where a whole number from " + to_string(smallest) +
               " to " + to_string(largest) + " is expected");
    return value;
}

double readNumber(const SerializationNode& node, const string& name) {
    const string text = readText(node, name);
    istringstream stream(text);
    stream.imbue(locale::classic());
    double value;
    if (!(stream >> value) || stream.peek() != EOF)
        refuse("has " + name + "=\"" + text.substr(0, 40) + "\" where a number is expected");
    return value;
}

bool readFlag(const SerializationNode& node, const string& name) { return readInteger(node, name, 0, 1) == 1; }

KMLForce::Output readOutput(const SerializationNode& node) {
    if (!node.hasProperty("output"))
        return KMLForce::ENERGY;
    const string text = node.getStringProperty("output");
    if (text != "energy" && text != "uncertainty")
        refuse("has output=\"" + text.substr(0, 40) + "\" where energy or uncertainty is expected");
    return text == "energy" ? KMLForce::ENERGY : KMLForce::UNCERTAINTY;
}

const SerializationNode& readChild(const SerializationNode& node, const string& name) {
    for (const SerializationNode& child : node.getChildren())
        if (child.getName() == name)
            return child;
    refuse("has no <" + name + "> element");
}

vector<char> readModel(const SerializationNode& node) {
    const long long size = readInteger(node, "size", 0, LLONG_MAX);
    vector<char> bytes = decodeBase64(readText(node, "base64"));
    if ((long long)bytes.size() != size)
        refuse("holds " + to_string(bytes.size()) + " bytes of a model of " + to_string(size) + ": it was cut");
    const string expected = readText(node, "sha256");
    if (sha256(bytes) != expected)
        refuse("holds a model with another SHA-256 than it states: it was changed or damaged");
    return bytes;
}

} // namespace

KMLForceProxy::KMLForceProxy() : SerializationProxy("KMLForce") {}

void KMLForceProxy::serialize(const void* object, SerializationNode& node) const {
    const auto& force = *static_cast<const KMLForce*>(object);
    // Whoever reads older versions only still takes what it can.
    const bool uncertainty = force.getOutput() == KMLForce::UNCERTAINTY;
    node.setIntProperty("version", uncertainty ? VERSION : force.getNumbers().empty() ? 1 : 2);
    if (uncertainty)
        node.setStringProperty("output", "uncertainty");
    node.setIntProperty("forceGroup", force.getForceGroup());
    node.setStringProperty("name", force.getName());
    node.setBoolProperty("usesPeriodic", force.usesPeriodicBoundaryConditions());
    node.setIntProperty("numThreads", force.getNumThreads());
    if (!force.getScaleParameter().empty()) {
        SerializationNode& scale = node.createChildNode("ScaleParameter");
        scale.setStringProperty("name", force.getScaleParameter());
        scale.setDoubleProperty("default", force.getScaleDefaultValue());
        scale.setBoolProperty("derivative", force.hasEnergyParameterDerivative());
    }
    SerializationNode& particles = node.createChildNode("Particles");
    for (int index : force.getParticles())
        particles.createChildNode("Particle").setIntProperty("index", index);
    if (!force.getNumbers().empty()) {
        SerializationNode& numbers = node.createChildNode("Numbers");
        for (int number : force.getNumbers())
            numbers.createChildNode("Atom").setIntProperty("number", number);
    }
    const vector<char>& bytes = *force.getModel();
    SerializationNode& model = node.createChildNode("Model");
    model.setLongProperty("size", bytes.size());
    model.setStringProperty("sha256", sha256(bytes));
    model.setStringProperty("base64", encodeBase64(bytes));
}

void* KMLForceProxy::deserialize(const SerializationNode& node) const {
    const string version = readText(node, "version");
    if (version != "1" && version != "2" && version != to_string(VERSION))
        refuse("has version \"" + version.substr(0, 40) + "\", this openmm_kml reads version " + to_string(VERSION) +
               "; use the openmm_kml that wrote it, or a newer one");
    auto force = make_unique<KMLForce>(readModel(readChild(node, "Model")));
    OpenModel model(force->getModel()); // throws now rather than when a Context is made
    force->setForceGroup(readInteger(node, "forceGroup", 0, 31));
    force->setName(readText(node, "name"));
    force->setUsesPeriodicBoundaryConditions(readFlag(node, "usesPeriodic"));
    force->setNumThreads(readInteger(node, "numThreads", 0, INT_MAX));
    force->setOutput(readOutput(node));
    for (const SerializationNode& scale : node.getChildren())
        if (scale.getName() == "ScaleParameter") {
            force->setScaleParameter(readText(scale, "name"), readNumber(scale, "default"));
            if (readFlag(scale, "derivative"))
                force->addEnergyParameterDerivative(force->getScaleParameter());
        }
    vector<int> particles;
    for (const SerializationNode& particle : readChild(node, "Particles").getChildren())
        particles.push_back(readInteger(particle, "index", 0, INT_MAX));
    if (!particles.empty() && model.numAtoms() > 0 && (int)particles.size() != model.numAtoms())
        refuse("names " + to_string(particles.size()) + " particles for a model of " + to_string(model.numAtoms()) +
               " atoms");
    force->setParticles(std::move(particles));
    for (const SerializationNode& child : node.getChildren())
        if (child.getName() == "Numbers") {
            vector<int> numbers;
            for (const SerializationNode& atom : child.getChildren())
                numbers.push_back(readInteger(atom, "number", 1, 118));
            force->setNumbers(std::move(numbers));
        }
    return force.release();
}
